// Makes the job schema as one release of Graphile Worker does it:  node schema.mjs 0.18.0 postgresql://…
const [version, connectionString] = process.argv.slice(2);
const { makeWorkerUtils } = await import(`graphile-worker-${version}`);
const utils = await makeWorkerUtils({ connectionString });
await utils.migrate();
await utils.release();
