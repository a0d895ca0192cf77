import type { Context, Env, Hono } from "hono";
import { accepts } from "hono/accepts";
import { compress } from "hono/compress";
import type { Facts } from "./facts.ts";
import { readiness } from "./readiness.ts";
import { countPeers, orderPeers, PeerLook } from "./views/peer-status.ts";

/** Serves `/metrics`. Nothing of it is loaded before somebody asks for them. */
export function addMetrics<E extends Env>(app: Hono<E>, facts: () => Facts): void {
  app.use("/metrics", compress({ contentTypeFilter: /^(text\/plain|application\/openmetrics-text)/ }));
  app.get("/metrics", async (context) => {
    const { body, contentType } = await scrape(context, facts());
    const length = `${Buffer.byteLength(body)}`;
    return context.body(body, 200, {
      "content-type": contentType,
      "content-length": length,
      "cache-control": "no-store",
    });
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
  const look = new PeerLook(facts);
  const each = facts.flags["peerMetrics"] === true;
  const input = {
    facts,
    readiness: readiness(facts),
    counts: await countPeers(look),
    peers: each ? (await orderPeers(look)).peers.map((peer) => look.at(peer)) : [],
    figures: processFigures(),
  };
  const metrics = each ? { ...METRICS, ...EACH_PEER_METRICS } : METRICS;
  return expose(metrics, input, format === OPEN_METRICS ? OPEN_METRICS : TEXT);
}
