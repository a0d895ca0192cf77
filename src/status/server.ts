import type { Context, Hono } from "hono";
import { compress } from "hono/compress";
import { methodNotAllowed } from "hono/method-not-allowed";
import { formatListenAddress } from "../config/listen-address.ts";
import { answer } from "./answer.ts";
import { addCommands, addResources, type DebugParts } from "./debug-routes.ts";
import { addHealth, emptyApp } from "./health.ts";
import { isOwnHost } from "./host-check.ts";
import { addMetrics } from "./metrics-route.ts";
import { addPage } from "./page/page.ts";
import { Refusal } from "./refusals.ts";

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
