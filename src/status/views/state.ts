import type * as v from "valibot";
import type { Process, Reconcile, State } from "../../api/state.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { CniConfFacts, Facts } from "../facts.ts";
import { readiness } from "../readiness.ts";
import { configView, interfaceView } from "./config.ts";
import { desiredDeviceView } from "./device.ts";
import { applyView, firstOf } from "./kernel.ts";
import { leaseCounts, leaseView, rejectedView, sourceView } from "./leases.ts";
import { countPeers, PeerLook } from "./peer-status.ts";
import { rulesView } from "./rules.ts";
import { duration, time } from "./values.ts";

/** Everything in short: lists are counts here. */
export async function stateView(facts: Facts): Promise<v.InferOutput<typeof State>> {
  const { states: peerCounts } = await countPeers(new PeerLook(facts));
  const { own, desired, kernel, snapshot, cniConf } = facts;
  const { ready, reasons, warnings } = readiness(facts);
  return {
    version: facts.version,
    node: facts.node ?? null,
    startedAt: time(facts.startedAt),
    uptimeMs: facts.now - facts.startedAt,
    process: processView(),
    readiness: { ready, reasons: [...reasons], warnings: [...warnings] },
    config: configView(facts),
    externalInterface: interfaceView(facts),
    leaseSource: sourceView(facts),
    lease: own === undefined ? null : leaseView(own),
    leaseProblem: facts.leaseProblem ?? null,
    snapshotTakenAt: time(snapshot?.takenAt),
    leaseCounts: leaseCounts(facts),
    rejectedLeases: firstOf(rejectedView(facts)),
    peerCounts,
    desired:
      desired === undefined
        ? null
        : {
            devices: desired.devices.map((device) => desiredDeviceView(device, facts.actual)),
            routes: desired.routes.size,
            blackholes: desired.blackholes.map(formatPrefix),
            skipped: desired.skipped.length,
          },
    reconcile: reconcileView(facts),
    lastApply: kernel.lastApply === undefined ? null : applyView(kernel.lastApply),
    failures: firstOf(kernel.failures),
    cniConf: cniConf === undefined ? null : cniConfView(cniConf),
    rules: rulesView(facts),
  };
}

function processView(): v.InferOutput<typeof Process> {
  const { user, system } = process.cpuUsage();
  return { pid: process.pid, cpuMs: duration((user + system) / 1000), residentBytes: process.memoryUsage.rss() };
}

function reconcileView({ kernel, loop }: Facts): v.InferOutput<typeof Reconcile> {
  return {
    settled: kernel.settled,
    pruning: kernel.pruning,
    busySince: time(loop.busySince),
    turns: loop.turns,
    lastTurnAt: time(loop.lastTurnAt),
    failuresInARow: loop.failuresInARow,
    fullReads: kernel.fullReads,
    failed: kernel.failures.length,
    driftsFound: kernel.driftsFound,
    repaired: { ...kernel.repaired },
  };
}

function cniConfView({ source, file, written, looks, problem }: CniConfFacts) {
  return { source, file, written, looks, problem: problem ?? null };
}
