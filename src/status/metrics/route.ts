import type { Context, Env, Hono } from "hono";
import { accepts } from "hono/accepts";
import { compress } from "hono/compress";
import type { Facts } from "../facts.ts";
import { readiness } from "../readiness.ts";

/** Serves `/metrics`. Nothing of it is loaded before somebody asks for them. */
export function addMetrics<E extends Env>(app: Hono<E>, facts: () => Facts): void {
  app.use("/metrics", compress({ contentTypeFilter: /^(text\/plain|application\/openmetrics-text)/ }));
  app.get("/metrics", async (context) => {
    const { body, contentType } = await scrape(context, facts());
    return context.body(body, 200, { "content-type": contentType, "cache-control": "no-store" });
  });
}

async function scrape(context: Context, facts: Facts) {
  const [{ expose, OPEN_METRICS, TEXT }, { METRICS }, { processFigures }] = await Promise.all([
    import("./expose.ts"),
    import("./table.ts"),
    import("./process-figures.ts"),
  ]);
  const format = accepts(context, { header: "Accept", supports: [TEXT, OPEN_METRICS], default: TEXT });
  const input = { facts, readiness: readiness(facts), figures: processFigures() };
  return expose(METRICS, input, format === OPEN_METRICS ? OPEN_METRICS : TEXT);
}
