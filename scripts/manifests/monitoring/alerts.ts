// The alerts, for Prometheus as it is and for its operator.

/** What Prometheus calls the agents; the labels below say on which node. */
export const JOB = "tartan";
/** The label that says which node's agent it is: its name under the operator, else what Prometheus was told to scrape. */
const NODE = "{{ $labels.instance }}";

interface Alert {
  readonly name: string;
  readonly expr: string;
  /** how long the expression has to hold */
  readonly for: string;
  /** critical: pods have no network, or soon will not; warning: somebody has to look at it within hours */
  readonly severity: "critical" | "warning";
  readonly summary: string;
  readonly description: string;
  /** what to do */
  readonly action: string;
}

const ALERTS: readonly Alert[] = [
  {
    name: "TartanAgentDown",
    expr: `up{job="${JOB}"} == 0`,
    for: "5m",
    severity: "critical",
    summary: `tartan on ${NODE} does not answer`,
    description:
      "The agent could not be scraped for 5 minutes. What is in the kernel stays, so pods keep the network they have; nodes " +
      "that come, go or change their address are not followed.",
    action:
      "See whether the agent's pod (or tartan.service) runs on that node, and its log. If it runs: can Prometheus reach the " +
      "address that --debug-addr names? On the node, tartan doctor says what is wrong.",
  },
  {
    name: "TartanNoAgents",
    expr: `absent(up{job="${JOB}"})`,
    for: "10m",
    severity: "critical",
    summary: "no tartan agent is scraped",
    description: "Prometheus knows of no agent: the DaemonSet is gone, or what tells Prometheus of it.",
    action: "kubectl -n kube-flannel get daemonset,podmonitor; in Prometheus, look at Status > Targets.",
  },
  {
    name: "TartanNotReady",
    expr: "tartan_ready == 0",
    for: "5m",
    severity: "critical",
    summary: `the pod network of ${NODE} is not ready`,
    description:
      "For 5 minutes the node's pods have not had their network, or may lose it. tartan_condition says which part.",
    action: "tartan doctor on the node says why and what to do; /readyz has the reasons as JSON.",
  },
  {
    name: "TartanRulesNotInPlace",
    expr: 'tartan_condition{condition="rules"} == 0',
    for: "5m",
    severity: "critical",
    summary: `the masquerade and forward rules of ${NODE} are not in place`,
    description:
      "Pods of this node may not reach the outside, or their packets may be dropped where they are forwarded.",
    action:
      "tartan get rules on the node has the errors: iptables or libnftables missing, br_netfilter turned off, or somebody " +
      "who holds the xtables lock.",
  },
  {
    name: "TartanOverlayBlocked",
    expr: 'sum by (instance, family) (tartan_probe_peers{verdict="overlayBlocked"}) > 0',
    for: "5m",
    severity: "critical",
    summary: `${NODE} reaches {{ $value }} nodes, but not their pods ({{ $labels.family }})`,
    description:
      "These nodes answer at their public address, and nothing comes through the overlay: VXLAN's UDP port is blocked on the " +
      "way, or the other node's device is wrong.",
    action:
      "tartan peers on the node names them. Let UDP 8472 (or Backend.Port) through between all nodes, in firewalls and " +
      "security groups; on the other node, tartan doctor.",
  },
  {
    name: "TartanPeersDown",
    expr: 'tartan_peers{state="down"} > 0',
    for: "5m",
    severity: "warning",
    summary: `${NODE} can't reach the pods of {{ $value }} nodes`,
    description: "They are programmed, and nothing answers through the overlay. A node that was shut down counts, too.",
    action: "tartan peers on the node names them with the reason. Delete the Nodes that are gone for good.",
  },
  {
    name: "TartanIsolated",
    expr: [
      'sum by (instance) (tartan_peers{state="down"})',
      '  > 0.5 * sum by (instance) (tartan_peers{state=~"down|degraded|up"})',
      // Of one or two others it may as well be them.
      'and sum by (instance) (tartan_peers{state=~"down|degraded|up"}) > 2',
    ].join("\n"),
    for: "5m",
    severity: "critical",
    summary: `${NODE} can't reach the pods of more than half of the nodes`,
    description: "It is this node, or the network that it is in, rather than the others.",
    action: "On the node: tartan doctor; then its interface, its routes and its firewall.",
  },
  {
    name: "TartanPeersLossy",
    expr: 'sum by (instance, family) (tartan_probe_peers{verdict="lossy"}) > 0',
    for: "15m",
    severity: "warning",
    summary: `packets between ${NODE} and {{ $value }} nodes get lost ({{ $labels.family }})`,
    description: "More than a tenth of the probes got no answer for 15 minutes.",
    action:
      "tartan peers shows the loss of overlay and underlay: where both lose, it is the network between the nodes; where " +
      "the overlay alone does, look at the NICs' offloads (--vxlan-tx-checksum) and at full queues.",
  },
  {
    name: "TartanMtuTooSmall",
    expr: 'sum by (instance, family) (tartan_probe_peers{verdict="mtuTooSmall"}) > 0',
    for: "10m",
    severity: "warning",
    summary: `large packets from ${NODE} don't reach the pods of {{ $value }} nodes ({{ $labels.family }})`,
    description: "Small packets come through the overlay, those of full size do not: connections open and then hang.",
    action:
      "Somewhere between these nodes the MTU is smaller than that of the interface. Set Backend.MTU in net-conf.json to what " +
      "the way can carry, or mend the way.",
  },
  {
    name: "TartanMtuDiffers",
    expr: "max by (family) (tartan_device_mtu_bytes) != min by (family) (tartan_device_mtu_bytes)",
    for: "30m",
    severity: "warning",
    summary: "the nodes' overlay devices have different MTUs ({{ $labels.family }})",
    description: "A packet of full size from one node is too large for another.",
    action:
      "Compare tartan_device_mtu_bytes between nodes. Give the interfaces between nodes one MTU, or set Backend.MTU in " +
      "net-conf.json to the smallest.",
  },
  {
    name: "TartanPeersNotProgrammed",
    expr: 'tartan_peers{state="notProgrammed"} > 0',
    for: "5m",
    severity: "warning",
    summary: `{{ $value }} nodes are not programmed on ${NODE}`,
    description: "Something that belongs to these nodes has been missing in the kernel for 5 minutes.",
    action: "tartan diff on the node shows what is to be done, tartan get state what the kernel refused.",
  },
  {
    name: "TartanApplyFailures",
    // What happened once is out of sight before it would be told: it takes one that goes on. So below.
    expr: "sum by (instance, operation) (increase(tartan_kernel_operation_failures_total[5m])) > 0",
    for: "10m",
    severity: "warning",
    summary: `the kernel of ${NODE} refuses {{ $labels.operation }}`,
    description: "The agent tries again and again, and the kernel keeps refusing.",
    action: "tartan get state on the node has each failure with the kernel's error.",
  },
  {
    name: "TartanLeaseSourceLost",
    expr: "tartan_lease_source_up == 0",
    for: "5m",
    severity: "warning",
    summary: `${NODE} has lost contact with its lease source ({{ $labels.kind }})`,
    description: "The data path stays as it is. Nodes that come, go or change their address are not followed.",
    action: "tartan get lease on the node has the error. Is the API server, or etcd, up, and can the node reach it?",
  },
  {
    name: "TartanOwnLeaseProblem",
    expr: "tartan_own_lease_problem == 1",
    for: "10m",
    severity: "warning",
    summary: `the lease of ${NODE} does not count`,
    description: "Other nodes may leave this node out: its lease clashes with another's, or could not be published.",
    action: "tartan get lease on the node says what is wrong with it.",
  },
  {
    name: "TartanLeasesRejected",
    expr: 'tartan_leases{state="rejected"} > 0',
    for: "10m",
    severity: "warning",
    summary: `${NODE} rejects {{ $value }} leases`,
    description:
      "Records in the lease source make no sense, or claim what another lease has; their nodes may be left out.",
    action: "tartan get leases lists them with the reason; mend the Node's annotations, or the key in etcd.",
  },
  {
    name: "TartanDriftFight",
    expr: "increase(tartan_drift_found_total[5m]) > 10",
    for: "10m",
    severity: "warning",
    summary: `somebody keeps changing tartan's devices, routes or entries on ${NODE}`,
    description:
      "The agent mends them each time, {{ $value | humanize }} times in 5 minutes; in between packets get lost.",
    action:
      "tartan events --kind=driftFound names what is changed. Usual suspects: a network manager that handles flannel.*, " +
      "flanneld beside tartan, another network plugin.",
  },
  {
    name: "TartanRulesFight",
    expr: "sum by (instance) (increase(tartan_rules_repaired_total[5m])) > 10",
    for: "10m",
    severity: "warning",
    summary: `somebody keeps changing tartan's rules on ${NODE}`,
    description: "The agent mends them each time, {{ $value | humanize }} rules in 5 minutes.",
    action:
      "tartan events --kind=rulesRepaired. Usual suspects: a firewall manager that reloads, flanneld beside tartan.",
  },
];

/** As a rule file of Prometheus has them, which is also the specification of a PrometheusRule. */
export const RULE_GROUPS = {
  groups: [
    {
      name: "tartan",
      rules: ALERTS.map(({ name, expr, for: lasting, severity, summary, description, action }) => ({
        alert: name,
        expr,
        for: lasting,
        labels: { severity },
        annotations: { summary, description, action },
      })),
    },
  ],
};
