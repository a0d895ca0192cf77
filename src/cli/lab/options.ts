import * as v from "valibot";
import { mustBe, parsed } from "../../config/schema.ts";
import { type CommandSpec, HELP, type OptionSpecs, OUTPUT, optionsHelp, parseOptions, SWITCH } from "../options.ts";
import { LEASE_KINDS } from "./lease-plan.ts";
import { FAMILY_SET_NAMES, type LabShape, RULES_MODES } from "./plan.ts";

export interface LabOptions extends LabShape {
  /** end by itself after the report */
  readonly once: boolean;
  readonly output: "json" | "text";
  readonly help: boolean;
}

const LEAST_NODES = 2;
const MOST_NODES = 20;

const nodeCount = parsed(
  (text) =>
    /^\d+$/.test(text) && Number(text) >= LEAST_NODES && Number(text) <= MOST_NODES ? Number(text) : undefined,
  `a whole number from ${LEAST_NODES} to ${MOST_NODES}`,
);

const OPTIONS = {
  nodes: {
    value: "N",
    usage: `nodes to make, ${LEAST_NODES} to ${MOST_NODES}; 3 if not given`,
    schema: v.optional(nodeCount, "3"),
  },
  lease: {
    value: "SOURCE",
    usage: "where leases are: embedded (if not given), etcd or kube",
    schema: v.optional(v.picklist(LEASE_KINDS, mustBe("embedded, etcd or kube")), "embedded"),
  },
  family: {
    value: "FAMILY",
    usage: "the pods' addresses: 4 (if not given), 6, or 46 for both",
    schema: v.optional(v.picklist(FAMILY_SET_NAMES, mustBe("4, 6 or 46")), "4"),
  },
  // nft by itself works on every host; iptables needs a module that few hosts have loaded.
  rules: {
    value: "MODE",
    usage: "masquerade and forward by nft (if not given) or iptables",
    schema: v.optional(v.picklist(RULES_MODES, mustBe("iptables or nft")), "nft"),
  },
  once: { usage: "end by itself; exit code 0 only if all was reached", schema: SWITCH },
  output: OUTPUT,
  help: HELP,
} as const satisfies OptionSpecs;

export const LAB: CommandSpec = { options: OPTIONS, args: {} };

/** @throws UsageError with one line that names the option, says what is allowed, and suggests the nearest */
export function parseLabOptions(args: readonly string[]): LabOptions {
  return parseOptions(OPTIONS, args);
}

/** `tartan lab --help`. */
export function labHelp(): string {
  return `Usage: tartan lab [OPTION]...

Brings up a VXLAN overlay on this machine and shows that it works. Each node is
a network namespace with an agent in it, and has one pod, which is attached and
taken away by CNI: by the conflist that the agent wrote, which calls tartan as
the plugin flannel and Debian's bridge, host-local and portmap. Every pod is
pinged from every other, and from and to a host outside, behind the nodes'
gateway, which has to see the node's address instead of the pod's, while the pod
sees the outside's own. The host's own network stays as it is. Needs root.

With --lease etcd or kube the agents keep their leases in the real thing, which
runs on the lab's switch, in a network namespace of its own: etcd, or etcd with
kube-apiserver and kube-controller-manager. 'npm run lab -- --lease kube' finds
them in the checkout; else etcd is found on the PATH, and all of them in the
folder that KUBEBUILDER_ASSETS names.

Options:
${optionsHelp(OPTIONS)}

Examples:
  tartan lab                             three nodes; stays until Ctrl-C
  tartan lab --nodes 5 --once            five nodes; ends by itself
  tartan lab --lease kube                with Kubernetes; prints its kubeconfig
  tartan lab --family 46 --rules iptables
  tartan lab --once -o json | jq .pairs  the result for a program

While a lab stays (ID and ports are in what it prints):
  curl http://127.0.0.1:PORT/debug/state
  ip netns exec tartan-lab-ID-n1 ip route flush dev flannel.1
  ip netns exec tartan-lab-ID-pod1 ping ADDRESS   (of another node's pod)
  cat /run/tartan-lab/ID/n1.cni/10-flannel.conflist
  ip netns exec tartan-lab-ID-n1 nft list ruleset

Exit code: 0 every pair reached and was seen in VXLAN, and so was the outside by
the right addresses, and CNI took every pod away again; 1 not so or no lab could
be made, 2 wrong options, 130 or 143 interrupted before the report.
`;
}
