import { counter, gauge, gauges, seconds } from "./spec.ts";

/** Where the leases come from, and what became of them. */
export const LEASE_METRICS = {
  tartan_lease_source_up: gauges("1 while the lease source answers.", ["kind"], ({ facts }) => [
    [[facts.source.kind], Number(facts.source.contact.error === undefined)],
  ]),
  tartan_lease_source_last_contact_timestamp_seconds: gauge("When the lease source last answered.", ({ facts }) =>
    seconds(facts.source.contact.lastContactAt),
  ),
  tartan_lease_source_losses_total: counter(
    "How often contact with the lease source was lost.",
    ({ facts }) => facts.events.totals.sourceLost ?? 0,
  ),
  tartan_lease_source_reconnects_total: counter(
    "How often contact with the lease source came back.",
    ({ facts }) => facts.events.totals.sourceBack ?? 0,
  ),
  tartan_lease_snapshot_timestamp_seconds: gauge(
    "When the leases that the node keeps to were taken from the source; they change only with the leases.",
    ({ facts }) => seconds(facts.snapshot?.takenAt),
  ),
  tartan_leases: gauges("Leases in the last complete snapshot.", ["state"], ({ facts }) => {
    const { leases = [], rejected = [] } = facts.snapshot ?? {};
    return [
      [["used"], leases.length],
      [["rejected"], rejected.length],
    ];
  }),
  tartan_leases_rejected_total: counter(
    "Records that were rejected; one counts again when its reason changed.",
    ({ facts }) => facts.rejections,
  ),
  tartan_own_lease_held: gauge("1 while this node has a lease.", ({ facts }) => Number(facts.own !== undefined)),
  tartan_own_lease_problem: gauge("1 while this node's lease does not count, or could not be published.", ({ facts }) =>
    Number(facts.leaseProblem !== undefined),
  ),
  tartan_own_lease_expiry_timestamp_seconds: gauge(
    "When this node's lease ends unless it is renewed, where leases end.",
    ({ facts }) => seconds(facts.own?.expiresAt),
  ),
};
