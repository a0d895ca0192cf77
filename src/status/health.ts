import { Hono } from "hono";
import { logger } from "../base/log.ts";
import { nearest } from "../config/nearest.ts";
import { answer } from "./answer.ts";
import type { Facts } from "./facts.ts";
import { readiness, stall } from "./readiness.ts";
import { Refusal } from "./refusals.ts";

const log = logger("http");

/** What all servers have in common: answers to what went wrong. */
export function emptyApp(): Hono {
  // A request of HTTP/1.0 may lack the Host header (HAProxy's checks do), and its URL is then the path alone.
  const app = new Hono({ getPath: (request) => new URL(request.url, "http://localhost").pathname });
  app.notFound((context) => answer(context, { error: nothingAt(app, context.req.path) }, { status: 404 }));
  app.onError((error, context) => {
    if (error instanceof Refusal) return answer(context, { error: error.message }, { status: error.status });
    log.error("{path} failed: {error}", { path: context.req.path, error: error.message });
    return answer(context, { error: error.message }, { status: 500 });
  });
  return app;
}

function nothingAt(app: Hono, path: string): string {
  const paths = [...new Set(app.routes.map((route) => route.path))].filter((known) => !/[*:]/.test(known));
  const meant = nearest(path, paths);
  return `nothing is at ${path}${meant === undefined ? "" : `; did you mean ${meant}?`}`;
}

export function addHealth(app: Hono, facts: () => Facts): void {
  app.get("/healthz", (context) => {
    const message = stall(facts());
    const live = message === undefined;
    return answer(context, live ? { live } : { live, message }, { status: live ? 200 : 503 });
  });
  app.get("/readyz", (context) => {
    const found = readiness(facts());
    return answer(context, found, { status: found.ready ? 200 : 503 });
  });
}

/** `/healthz` and `/readyz`, for kubelet's probes. */
export function healthApp(facts: () => Facts): Hono {
  const app = emptyApp();
  addHealth(app, facts);
  return app;
}
