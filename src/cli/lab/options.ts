import { parseArgs } from "node:util";
import * as v from "valibot";
import { UsageError } from "../../base/errors.ts";
import { nearest } from "../../config/nearest.ts";
import { mustBe, parsed } from "../../config/schema.ts";
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

interface OptionSpec {
  readonly usage: string;
  readonly short?: string;
  /** the value's name in the help; an option without one takes no value */
  readonly value?: string;
  readonly schema: v.GenericSchema<unknown, unknown>;
}

const ON = v.optional(v.boolean(), false);
const nodeCount = parsed(
  (text) =>
    /^\d+$/.test(text) && Number(text) >= LEAST_NODES && Number(text) <= MOST_NODES ? Number(text) : undefined,
  `a whole number from ${LEAST_NODES} to ${MOST_NODES}`,
);

/** Every option: reading and help both come from here. */
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
  rules: {
    value: "MODE",
    usage: "masquerade and forward by iptables (if not given) or nft",
    schema: v.optional(v.picklist(RULES_MODES, mustBe("iptables or nft")), "iptables"),
  },
  once: { usage: "end by itself; exit code 0 only if all was reached", schema: ON },
  output: {
    short: "o",
    value: "FORMAT",
    usage: "text (if not given) or json: one document on stdout",
    schema: v.optional(v.picklist(["text", "json"], mustBe("text or json")), "text"),
  },
  help: { short: "h", usage: "show this help", schema: ON },
} as const satisfies Record<string, OptionSpec>;

type OptionName = keyof typeof OPTIONS;
const NAMES = Object.keys(OPTIONS).filter(isOption);

const SCHEMA: v.GenericSchema<unknown, LabOptions> = v.object({
  nodes: OPTIONS.nodes.schema,
  lease: OPTIONS.lease.schema,
  family: OPTIONS.family.schema,
  rules: OPTIONS.rules.schema,
  once: OPTIONS.once.schema,
  output: OPTIONS.output.schema,
  help: OPTIONS.help.schema,
});

function isOption(name: string): name is OptionName {
  return Object.hasOwn(OPTIONS, name);
}

function specOf(name: OptionName): OptionSpec {
  return OPTIONS[name];
}

/** As with the agent's flags, one dash in front of a long name is as good as two, and `-o=json` as good as `-o json`. */
function normalise(arg: string): string {
  const [, name = "", value] = /^-(\w+)(?:=(.*))?$/s.exec(arg) ?? [];
  if (isOption(name)) return `-${arg}`;
  return value !== undefined && name.length === 1 ? `-${name}${value}` : arg;
}

/** @throws UsageError with one line that names the option, says what is allowed, and suggests the nearest */
export function parseLabOptions(args: readonly string[]): LabOptions {
  const { tokens } = parseArgs({
    args: args.map(normalise),
    options: Object.fromEntries(
      NAMES.map((name) => {
        const { short, value } = specOf(name);
        return [name, { type: value === undefined ? "boolean" : "string", ...(short ? { short } : {}) }] as const;
      }),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given: Partial<Record<OptionName, string | boolean>> = {};
  for (const token of tokens) {
    if (token.kind === "positional") {
      throw new UsageError(`unexpected argument ${JSON.stringify(token.value)}: only options are allowed here`);
    }
    if (token.kind === "option-terminator") continue;
    if (!isOption(token.name)) throw unknown(token.name, token.rawName);
    const { value } = specOf(token.name);
    if (value === undefined && token.value !== undefined) throw new UsageError(`--${token.name} takes no value`);
    if (value !== undefined && token.value === undefined) {
      throw new UsageError(`--${token.name} needs a value: --${token.name}=${value}`);
    }
    given[token.name] = token.value ?? true;
  }
  const result = v.safeParse(SCHEMA, given, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new UsageError(`--${v.getDotPath(issue)} ${issue.message}`);
}

function unknown(name: string, written: string): UsageError {
  const meant = nearest(name, NAMES) ?? NAMES.find((known) => known.startsWith(name));
  return new UsageError(
    `unknown option ${written}: ${meant ? `did you mean --${meant}?` : "--help lists the options"}`,
  );
}

/** `tartan lab --help`. */
export function labHelp(): string {
  const rows = NAMES.map((name) => {
    const { short, value, usage } = specOf(name);
    return [`${short ? `-${short}, ` : "    "}--${name}${value ? `=${value}` : ""}`, usage] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return `Usage: tartan lab [OPTION]...

Brings up a VXLAN overlay on this machine and shows that it works. Each node is
a network namespace with an agent in it, and has one pod; every pod is pinged
from every other, and from and to a host outside, behind the nodes' gateway,
which has to see the node's address instead of the pod's, while the pod sees the
outside's own. The host's own network stays as it is. Needs root.

With --lease etcd or kube the agents keep their leases in the real thing, which
runs on the lab's switch, in a network namespace of its own: etcd, or etcd with
kube-apiserver and kube-controller-manager. 'npm run lab -- --lease kube' finds
them in the checkout; else etcd is found on the PATH, and all of them in the
folder that KUBEBUILDER_ASSETS names.

Options:
${rows.map(([left, usage]) => `  ${left.padEnd(width)}  ${usage}`).join("\n")}

Examples:
  tartan lab                             three nodes; stays until Ctrl-C
  tartan lab --nodes 5 --once            five nodes; ends by itself
  tartan lab --lease kube                with Kubernetes; prints its kubeconfig
  tartan lab --family 46 --rules nft     pods with IPv4 and IPv6, nftables
  tartan lab --once -o json | jq .pairs  the result for a program

While a lab stays (ID and ports are in what it prints):
  curl http://127.0.0.1:PORT/debug/state
  ip netns exec tartan-lab-ID-n1 ip route flush dev flannel.1
  ip netns exec tartan-lab-ID-pod1 ping ADDRESS   (.2 of another node's subnet)
  ip netns exec tartan-lab-ID-n1 nft list ruleset

Exit code: 0 every pair reached and was seen in VXLAN, and so was the outside by
the right addresses; 1 not so or no lab could be made, 2 wrong options, 130 or
143 interrupted before the report.
`;
}
