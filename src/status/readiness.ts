import { outcomeOf } from "../lease/lease.ts";
import type { Facts, Finding, ProbesFacts } from "./facts.ts";

/** A turn of the loop that takes longer has got stuck: 5,000 peers take about a third of a second. */
const STALL_MS = 30_000;

export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly Finding[];
  /** what is wrong but does not make pods on this node unreachable */
  readonly warnings: readonly Finding[];
}

/** Whether the node's pods have their network, and why not. Pure. */
export function readiness(facts: Facts): Readiness {
  const warnings: Finding[] = [];
  const { contact, kind, location } = facts.source;
  if (contact.error !== undefined) {
    const age =
      contact.lastContactAt === undefined ? "never" : `${Math.round((facts.now - contact.lastContactAt) / 1000)} s ago`;
    warnings.push({
      condition: "leaseSource",
      message: `${kind} ${location}: last contact ${age}: ${contact.error.message}`,
    });
  }
  // What keeps the source from answering is told above.
  if (facts.leaseProblem !== undefined && facts.leaseProblem !== contact.error?.message) {
    warnings.push({ condition: "lease", message: facts.leaseProblem });
  }
  for (const { object, operation, message } of facts.kernel.failures.slice(0, 10)) {
    warnings.push({ condition: "kernel", message: message || `${operation} ${object}` });
  }
  const more = facts.kernel.failures.length - 10;
  if (more > 0) warnings.push({ condition: "kernel", message: `${more} more operations failed` });
  const { leases = [], rejected = [] } = facts.snapshot ?? {};
  const skipped = facts.desired?.skipped ?? [];
  const left = [...skipped, ...rejected];
  for (const [at, { key, node, reason }] of left.slice(0, 10).entries()) {
    // A record may have turned bad while its last good lease stays in use.
    const kept = at >= skipped.length && leases.some((lease) => lease.key === key);
    warnings.push({
      condition: "peers",
      message: `lease ${key}${node ? ` of ${node}` : ""} ${outcomeOf(kept)}: ${reason}`,
    });
  }
  if (left.length > 10) warnings.push({ condition: "peers", message: `${left.length - 10} more leases are not right` });
  warnings.push(...probeWarnings(facts.probes));
  for (const message of facts.rules.warnings) warnings.push({ condition: "rules", message });
  if (facts.cniConf?.problem !== undefined) warnings.push({ condition: "cni", message: facts.cniConf.problem });
  for (const message of facts.networkWarnings) warnings.push({ condition: "config", message });
  return { ready: facts.problems.length === 0, reasons: facts.problems, warnings };
}

/** Of peers that are not reachable as they should be: ten, and how many there are. Pure. */
export function probeWarnings(probes: Pick<ProbesFacts, "problem" | "troubled"> | undefined): Finding[] {
  if (probes === undefined) return [];
  const { total, of, first } = probes.troubled(10);
  const messages = first.map(({ key, node, why, fix }) => `peer ${node ?? key}: ${why}: ${fix}`);
  if (total > 10) messages.push(`${total} of ${of} peers are not reachable as they should be, the others like these`);
  if (probes.problem !== undefined) messages.push(probes.problem);
  return messages.map((message) => ({ condition: "peers", message }));
}

/** Whether the loop turns. @returns what is wrong, or undefined */
export function stall({ loop, now }: Pick<Facts, "loop" | "now">): string | undefined {
  if (loop.busySince === undefined || now - loop.busySince <= STALL_MS) return undefined;
  return `the reconcile loop has been in one turn for ${Math.round((now - loop.busySince) / 1000)} s`;
}
