// Runs one release of Graphile Worker:  node worker.mjs 0.18.0 postgresql://… task[,task…] [crontab]
//
// Its tasks print {"begin": id} and {"end": id} with the identifier, the key and the time `at`, taking
// payload.milliseconds.
// Prints {"started": version} when it works, and ends at SIGTERM.
const [version, connectionString, tasks, crontab = ""] = process.argv.slice(2);
const { run, Logger } = await import(`graphile-worker-${version}`);
const say = (line) => process.stdout.write(JSON.stringify({ ...line, at: Date.now() }) + "\n");
const task = async (payload, { job }) => {
  say({ begin: String(job.id), identifier: job.task_identifier, key: job.key });
  await new Promise((done) => setTimeout(done, payload?.milliseconds ?? 0));
  say({ end: String(job.id), identifier: job.task_identifier, key: job.key });
};
const quiet = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") process.stderr.write(`${level}: ${message}\n`);
});
await run({
  connectionString,
  concurrency: 4,
  pollInterval: 200,
  logger: quiet,
  crontab: crontab.replaceAll("\\n", "\n"),
  taskList: Object.fromEntries(tasks.split(",").map((name) => [name, task])),
});
say({ started: version });
