import type { Context, Env, Hono } from "hono";
import { accepts } from "hono/accepts";
import { compress } from "hono/compress";
import type { Facts } from "./facts.ts";
import { readiness } from "./readiness.ts";
import { orderPeers, PeerLook } from "./views/peer-status.ts";

/** Serves `/metrics`. Nothing of it is loaded before somebody asks for them. */
export function addMetrics<E extends Env>(app: Hono<E>, facts: () => Facts): void {
  app.use("/metrics", compress({ contentTypeFilter: /^(text\/plain|application\/openmetrics-text)/ }));
  app.get("/metrics", async (context) => {
    const { body, contentType } = await scrape(context, facts());
    return context.body(body, 200, { "content-type": contentType, "cache-control": "no-store" });
  });
}

async function scrape(context: Context, facts: Facts) {
  const [{ expose, OPEN_METRICS, TEXT }, { METRICS }, { EACH_PEER_METRICS }, { processFigures }] = await Promise.all([
    import("./metrics/expose.ts"),
    import("./metrics/table.ts"),
    import("./metrics/each-peer.ts"),
    import("./metrics/process-figures.ts"),
  ]);
  const format = accepts(context, { header: "Accept", supports: [TEXT, OPEN_METRICS], default: TEXT });
  const metrics = facts.flags["peerMetrics"] === true ? { ...METRICS, ...EACH_PEER_METRICS } : METRICS;
  const look = new PeerLook(facts);
  const { peers } = await orderPeers(look);
  const input = {
    facts,
    readiness: readiness(facts),
    peers: peers.map((peer) => look.at(peer)),
    figures: processFigures(),
  };
  return expose(metrics, input, format === OPEN_METRICS ? OPEN_METRICS : TEXT);
}
