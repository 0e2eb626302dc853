// A receiver that verifies as the SlayQ client does: parse, keep the six keys in order, JSON.stringify, HMAC.
// Nothing but Node's own modules. The secret comes in SLAY_Q_WORKER_SECRET.
//
// Prints {"port": …} when it listens, then one JSON line for each request as it arrives and one as it is answered:
//   {"type": "begin" | "end", "path", "verified", "fresh", "concurrent", "body", "at"}
// With `?show` in the URL they have "headers" and "text" too, as they arrived.
//
// What it answers depends on the path:
//   /ok              200
//   /status/503      that status
//   /fail-once       500 for the first request of an event's data.n, then 200
//   /slow/250        200 after so many milliseconds
//   /moved/3000      307 to /ok at that port
//   /hang            nothing, ever
//   /redirect?URL    307 to that URL; /redirect/301?URL with that status
//   /echo            500, with everything that a framework shows while one develops: request and environment
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = process.env.SLAY_Q_WORKER_SECRET;
const keys = ["job_key", "retry", "time", "event", "data", "cache"];
const failed = new Set();
let concurrent = 0;

const say = (line) => process.stdout.write(JSON.stringify({ ...line, at: Date.now() }) + "\n");

function verified(body, signature) {
  const document = {};
  for (const key of keys) if (key in body) document[key] = body[key];
  const expected = createHmac("sha512", secret).update(JSON.stringify(document)).digest();
  const given = Buffer.from(signature ?? "", "hex");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const text = Buffer.concat(chunks).toString("utf8");
    const body = JSON.parse(text);
    concurrent += 1;
    const seen = {
      path: request.url,
      verified: verified(body, request.headers["x-slayq-signature"]) && request.headers["content-type"] === "application/json",
      fresh: Math.abs(Date.now() - body.time) < 15_000,
      concurrent,
      body,
      ...(request.url.includes("?show") && { headers: request.headers, text }),
    };
    say({ type: "begin", ...seen });
    const [, action, argument] = request.url.split("?")[0].split("/");
    const answer = (status, location) => {
      concurrent -= 1;
      response.writeHead(status, location ? { location } : {});
      response.end(status === 200 ? "ok" : "as you asked");
      say({ type: "end", ...seen });
    };
    response.on("close", () => {
      if (!response.writableEnded) concurrent -= 1;
    });
    if (action === "hang") return;
    if (action === "redirect") return answer(Number(argument ?? 307), request.url.slice(request.url.indexOf("?") + 1));
    if (action === "echo") {
      concurrent -= 1;
      const { "x-slayq-signature": signature, "x-slayq-signature-previous": previous, authorization } = request.headers;
      response.writeHead(500);
      const { SLAY_Q_WORKER_SECRET } = process.env;
      const shown = { part: { signature, previous, authorization, url: request.url }, env: { SLAY_Q_WORKER_SECRET } };
      return void response.end(JSON.stringify(argument ? shown[argument] : shown));
    }
    if (action === "slow") return void setTimeout(answer, Number(argument), 200);
    if (action === "moved") return answer(307, `http://127.0.0.1:${argument}/ok`);
    if (action === "status") return answer(Number(argument));
    if (action === "fail-once") {
      const first = !failed.has(body.data?.n);
      failed.add(body.data?.n);
      return answer(first ? 500 : 200);
    }
    answer(200);
  });
});
server.keepAliveTimeout = 5_000;
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => say({ port: server.address().port }));
