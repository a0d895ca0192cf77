import { type Context, Hono } from "hono";
import { compress } from "hono/compress";
import { methodNotAllowed } from "hono/method-not-allowed";
import { logger } from "../base/log.ts";
import { formatListenAddress } from "../config/listen-address.ts";
import { nearest } from "../config/nearest.ts";
import { answer } from "./answer.ts";
import { addCommands, addResources, type DebugParts } from "./debug-routes.ts";
import type { Facts } from "./facts.ts";
import { isOwnHost } from "./host-check.ts";
import { addMetrics } from "./metrics-route.ts";
import { addPage } from "./page/page.ts";
import { readiness, stall } from "./readiness.ts";
import { Refusal } from "./refusals.ts";

const log = logger("http");

function emptyApp(): Hono {
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

function addHealth(app: Hono, facts: () => Facts): void {
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

/** All that `--debug-addr` serves. */
export function debugApp(parts: DebugParts): Hono {
  const app = emptyApp();
  const { address, facts } = parts;
  if (address.kind === "tcp") {
    app.use(async (context, next) => {
      const { node } = facts();
      const host = context.req.header("host");
      if (isOwnHost(host, address, node === undefined ? [] : [node])) return next();
      throw new Refusal(
        421,
        `${host} is no name of this host here: ask by localhost or by an address that the agent listens on ` +
          `(${formatListenAddress(address)})`,
      );
    });
  }
  app.use(compress());
  app.use(methodNotAllowed({ app, onMethodNotAllowed: refuseMethod }));
  addHealth(app, facts);
  addResources(app, parts);
  addMetrics(app, facts);
  addCommands(app, parts);
  addPage(app);
  return app;
}

async function refuseMethod(context: Context, methods: readonly string[]): Promise<Response> {
  const allow = methods.join(", ");
  const { method, path } = context.req;
  const response = await answer(context, { error: `${path} takes ${allow}, not ${method}` }, { status: 405 });
  response.headers.set("allow", allow);
  return response;
}
