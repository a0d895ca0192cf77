import type * as v from "valibot";
import type * as api from "../../api/peers.ts";
import type { PeerFacts } from "../../probe/engine.ts";
import type { PathFacts } from "../../probe/records.ts";
import { duration, time } from "./values.ts";

/** What the probes of one family say of a peer. */
export function probeView(facts: PeerFacts): v.InferOutput<typeof api.ProbeResult> {
  return {
    verdict: facts.verdict,
    since: time(facts.since),
    lastProbedAt: time(facts.lastProbedAt),
    overlay: pathView(facts.overlay),
    underlay: pathView(facts.underlay),
    mtu: {
      bytes: facts.fullBytes,
      passes: facts.fullSizePasses ?? null,
      lastCheckedAt: time(facts.fullSizeCheckedAt),
    },
  };
}

function pathView({
  sent,
  received,
  lastMs,
  p50Ms,
  p99Ms,
  lastSuccessAt,
}: PathFacts): v.InferOutput<typeof api.ProbePath> {
  return {
    sent,
    received,
    lossPercent: sent === 0 ? null : Math.round((1 - received / sent) * 1000) / 10,
    lastMs: duration(lastMs),
    p50Ms: duration(p50Ms),
    p99Ms: duration(p99Ms),
    lastSuccessAt: time(lastSuccessAt),
  };
}
