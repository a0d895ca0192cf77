/** What happens, minute by minute in promtool's notation, and what an alert makes of it. */
export interface AlertCase {
  readonly fires: Series;
  /** of the alert that fires */
  readonly labels: Readonly<Record<string, string>>;
  readonly value?: string;
  /** each by itself does not fire */
  readonly silent: readonly Series[];
}

type Series = Readonly<Record<string, string>>;

const n1 = { instance: "n1" };
const down = { 'up{job="tartan",instance="n1"}': "0x60" };
const drift = 'tartan_drift_found_total{instance="n1"}';
const repaired = 'tartan_rules_repaired_total{instance="n1",kind="rule missing"}';
const failures = 'tartan_kernel_operation_failures_total{instance="n1",operation="route-replace"}';
const peers = (state: string) => `tartan_peers{instance="n1",state="${state}"}`;
const verdict = (name: string) => `tartan_probe_peers{instance="n1",family="ipv4",verdict="${name}"}`;
const mtu = (instance: string, family = "ipv4") =>
  `tartan_device_mtu_bytes{instance="${instance}",device="flannel.1",family="${family}"}`;

/** One that is up at one peer and then at three of them. */
const byVerdict = (name: string): AlertCase => ({
  fires: { [verdict(name)]: "3x60", [verdict("reachable")]: "7x60" },
  labels: { ...n1, family: "ipv4" },
  value: "3",
  // None; and one for a moment, as a node that restarts.
  silent: [{ [verdict(name)]: "0x60", [verdict("reachable")]: "7x60" }, { [verdict(name)]: "0x5 1x3 0x60" }],
});

export const ALERT_CASES: Readonly<Record<string, AlertCase>> = {
  TartanAgentDown: {
    fires: down,
    labels: { ...n1, job: "tartan" },
    silent: [
      { 'up{job="tartan",instance="n1"}': "1x60" },
      { 'up{job="tartan",instance="n1"}': "1x5 0x2 1x60" },
      { 'up{job="other",instance="n1"}': "0x60" },
    ],
  },
  TartanNoAgents: {
    fires: { 'up{job="other",instance="n1"}': "1x60" },
    labels: { job: "tartan" },
    // One that is down is not none.
    silent: [down, { 'up{job="tartan",instance="n1"}': "1x60" }],
  },
  TartanNotReady: {
    fires: { 'tartan_ready{instance="n1"}': "0x60", 'tartan_ready{instance="n2"}': "1x60" },
    labels: n1,
    silent: [{ 'tartan_ready{instance="n1"}': "1x60" }, { 'tartan_ready{instance="n1"}': "0x3 1x60" }],
  },
  TartanRulesNotInPlace: {
    fires: { 'tartan_condition{instance="n1",condition="rules"}': "0x60" },
    labels: { ...n1, condition: "rules" },
    silent: [
      { 'tartan_condition{instance="n1",condition="rules"}': "1x60" },
      { 'tartan_condition{instance="n1",condition="lease"}': "0x60" },
    ],
  },
  TartanOverlayBlocked: byVerdict("overlayBlocked"),
  TartanPeersDown: {
    fires: { [peers("down")]: "2x60", [peers("up")]: "8x60" },
    labels: { ...n1, state: "down" },
    value: "2",
    silent: [{ [peers("down")]: "0x60" }, { [peers("down")]: "0x3 1x3 0x60" }, { [peers("notProgrammed")]: "4x60" }],
  },
  TartanIsolated: {
    fires: { [peers("down")]: "6x60", [peers("up")]: "4x60" },
    labels: n1,
    // Those that are not probed yet say nothing; half is not more than half; of two nodes the other one may be down.
    silent: [
      { [peers("down")]: "1x60", [peers("up")]: "0x60" },
      { [peers("down")]: "5x60", [peers("up")]: "5x60" },
      { [peers("down")]: "0x60", [peers("up")]: "0x60", [peers("unknown")]: "9x60" },
    ],
  },
  TartanPeersLossy: byVerdict("lossy"),
  TartanMtuTooSmall: byVerdict("mtuTooSmall"),
  TartanMtuDiffers: {
    fires: { [mtu("n1")]: "1450x60", [mtu("n2")]: "8950x60" },
    labels: { family: "ipv4" },
    // IPv6 takes 20 bytes more, on every node.
    silent: [{ [mtu("n1")]: "1450x60", [mtu("n2")]: "1450x60", [mtu("n1", "ipv6")]: "1430x60" }],
  },
  TartanPeersNotProgrammed: {
    fires: { [peers("notProgrammed")]: "1x60" },
    labels: { ...n1, state: "notProgrammed" },
    value: "1",
    silent: [{ [peers("notProgrammed")]: "0x60" }, { [peers("notProgrammed")]: "5x2 0x60" }],
  },
  TartanApplyFailures: {
    fires: { [failures]: "0+1x60" },
    labels: { ...n1, operation: "route-replace" },
    // Never, long ago, once, and a few times in a row until the kernel took it.
    silent: [
      { [failures]: "0x60" },
      { [failures]: "7x60" },
      { [failures]: "0x3 1x60" },
      { [failures]: "0x3 5 9 12x60" },
    ],
  },
  TartanLeaseSourceLost: {
    fires: { 'tartan_lease_source_up{instance="n1",kind="etcd"}': "0x60" },
    labels: { ...n1, kind: "etcd" },
    silent: [
      { 'tartan_lease_source_up{instance="n1",kind="etcd"}': "1x60" },
      { 'tartan_lease_source_up{instance="n1",kind="etcd"}': "1x5 0x4 1x60" },
    ],
  },
  TartanOwnLeaseProblem: {
    fires: { 'tartan_own_lease_problem{instance="n1"}': "1x60" },
    labels: n1,
    silent: [{ 'tartan_own_lease_problem{instance="n1"}': "0x60" }],
  },
  TartanLeasesRejected: {
    fires: { 'tartan_leases{instance="n1",state="rejected"}': "2x60" },
    labels: { ...n1, state: "rejected" },
    value: "2",
    silent: [
      { 'tartan_leases{instance="n1",state="rejected"}': "0x60", 'tartan_leases{instance="n1",state="used"}': "9x60" },
    ],
  },
  TartanDriftFight: {
    fires: { [drift]: "0+6x60" },
    labels: n1,
    value: "30",
    // Somebody flushes the routes now and then; the agent starts anew, and counts from 0; a fight that is over soon.
    silent: [{ [drift]: "0x3 1x20 2x60" }, { [drift]: "500x3 0x60" }, { [drift]: "0x3 40 80 90x60" }],
  },
  TartanRulesFight: {
    fires: { [repaired]: "0+10x60" },
    labels: n1,
    value: "50",
    silent: [{ [repaired]: "0x3 6x60" }, { [repaired]: "0x3 40 80 90x60" }],
  },
};
