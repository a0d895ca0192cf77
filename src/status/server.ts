import { Hono } from "hono";
import { logger } from "../base/log.ts";
import type { Facts } from "./facts.ts";
import { readiness, stall } from "./readiness.ts";
import { debugState } from "./view.ts";

const log = logger("http");

/** `/healthz` and `/readyz`, for kubelet's probes. */
export function healthApp(facts: () => Facts): Hono {
  // A request of HTTP/1.0 may lack the Host header (HAProxy's checks do), and its URL is then the path alone.
  const app = new Hono({ getPath: (request) => new URL(request.url, "http://localhost").pathname });
  app.get("/healthz", (context) => {
    const message = stall(facts());
    return context.json(
      { live: message === undefined, ...(message === undefined ? {} : { message }) },
      message === undefined ? 200 : 503,
    );
  });
  app.get("/readyz", (context) => {
    const found = readiness(facts());
    return context.json(found, found.ready ? 200 : 503);
  });
  app.notFound((context) => context.json({ error: `nothing is at ${context.req.path}` }, 404));
  app.onError((error, context) => {
    log.error("{path} failed: {error}", { path: context.req.path, error: error.message });
    return context.json({ error: error.message }, 500);
  });
  return app;
}

/** All that `--debug-addr` serves. */
export function debugApp(facts: () => Facts): Hono {
  const app = healthApp(facts);
  app.get("/debug/state", (context) => {
    // Readable where a person reads it: two spaces, as curl shows it as it is.
    return context.body(`${JSON.stringify(debugState(facts()), null, 2)}\n`, 200, {
      "content-type": "application/json",
    });
  });
  return app;
}
