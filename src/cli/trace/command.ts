import { readFileSync } from "node:fs";
import type * as v from "valibot";
import type { Lease } from "../../api/leases.ts";
import type { FamilyName } from "../../api/values.ts";
import { describeError } from "../../base/errors.ts";
import { parsed } from "../../config/schema.ts";
import { familyOfDevice } from "../../kernel/owned.ts";
import { type Address, familyOf, parseAddress } from "../../net/address.ts";
import type { Family } from "../../net/family.ts";
import { containsAddress, parsePrefix } from "../../net/prefix.ts";
import { AGENT_OPTIONS, AgentClient, type AgentPlaces } from "../client.ts";
import { LocalNode, NODE_OPTIONS, ownDevices, readSubnetEnv, rulesPresent } from "../local-node.ts";
import { type CommandSpec, HELP, OUTPUT, optionsHelp, parseOptions } from "../options.ts";
import { print, printJson, screenOf } from "../output.ts";
import { follow, type KernelView } from "./follow.ts";
import type { TargetLease, Trace } from "./result.ts";
import { traceText } from "./text.ts";

/** `tartan trace`: the way of a packet to a pod, as this node's kernel has it. */

const OPTIONS = { ...AGENT_OPTIONS, ...NODE_OPTIONS, output: OUTPUT, help: HELP };
const ARGS = {
  target: { usage: "the IPv4 or IPv6 address of a pod, or any other", schema: parsed(parseAddress, "an IP address") },
};
export const TRACE: CommandSpec = { options: OPTIONS, args: ARGS };

const TEXT = `Usage: tartan trace [OPTION]... TARGET

Follows a packet from this node, or from a pod on it, to an IP address, as the
kernel would send it now: route, device, neighbour, forwarding entry (FDB), the
way to the other node's public address, source, MTU, masquerading. Says what is
missing and what helps. Sends nothing and changes nothing.

The kernel is read by the command itself; the agent, if it answers, tells whose
address it is, what the lease says, and whether its probes reach that node.

Options:
${optionsHelp(OPTIONS)}

Examples:
  tartan trace 10.244.62.2
  tartan trace fd00:10:244:5::2 -o json
  ip netns exec NAME tartan trace 10.244.62.2   in another network namespace

Exit code: 0 the packet leaves or arrives, whatever the probes say; 1 it would
be lost here, with the reason; 2 wrong options.
`;

/** @returns the exit code @throws UsageError, KernelError */
export async function runTrace(args: readonly string[]): Promise<number> {
  const options = parseOptions(OPTIONS, args, ARGS);
  if (options.help) {
    await print(TEXT);
    return 0;
  }
  const { target } = options;
  const { lease, problem } = await leaseOf(target, options);
  using node = new LocalNode();
  const rules = rulesPresent();
  const trace = follow({
    target,
    kernel: viewOf(node),
    subnetEnv: readSubnetEnv(options["subnet-file"]).content,
    lease,
    rules: rules instanceof Error ? undefined : rules,
  });
  const notes = problem === undefined ? trace.notes : [...trace.notes, problem];
  if (options.output === "json") await printJson(forPrograms({ ...trace, notes }));
  else await print(traceText({ ...trace, notes }, screenOf(process.stdout)));
  return trace.loss === undefined ? 0 : 1;
}

/** What the agent knows of the address. */
async function leaseOf(
  target: Address,
  places: AgentPlaces,
): Promise<{ lease?: TargetLease | null; problem?: string }> {
  const agent = new AgentClient(places);
  const family = FAMILY_NAME[familyOf(target)];
  try {
    const [{ lease: own }, { items }] = await Promise.all([agent.get("lease"), agent.list("leases")]);
    const leases = own === null || items.some(({ key }) => key === own.key) ? items : [own, ...items];
    const lease = leases.find((each) => holds(each[family], target));
    if (lease === undefined) return { lease: null };
    const { key, node, [family]: part } = lease;
    const isOwn = key === own?.key;
    const peer = isOwn ? undefined : (await agent.list("peers", { node: key, family })).items[0];
    const { subnet, publicIP = null, vtepMAC = null } = part ?? {};
    return { lease: { key, node, subnet: subnet ?? "", publicIP, vtepMAC, own: isOwn, peer: peer ?? null } };
  } catch (error) {
    return { problem: `by the kernel alone: ${describeError(error)}` };
  }
}

const FAMILY_NAME: Readonly<Record<Family, FamilyName>> = { 4: "ipv4", 6: "ipv6" };

function holds(part: v.InferOutput<typeof Lease>[FamilyName], target: Address): boolean {
  const prefix = part?.subnet && parsePrefix(part.subnet);
  return Boolean(prefix && containsAddress(prefix, target));
}

function viewOf(node: LocalNode): KernelView {
  const actual = node.read();
  return {
    lookUp: (target, options) => node.lookUp(target, options),
    link: (index) => actual.links.get(index),
    // What is on our devices is read; the others may have a whole network's neighbours.
    neighbour: (index, address) =>
      actual.neighbours.get(index)?.get(address) ?? node.neighbours(index).find((each) => each.address === address),
    forwarding: (index, mac) => actual.forwarding.get(index)?.get(mac),
    overlay: (family) => ownDevices(actual).find((device) => familyOfDevice(device) === family),
    forwards,
  };
}

const FORWARDING: Readonly<Record<Family, string>> = {
  4: "/proc/sys/net/ipv4/ip_forward",
  6: "/proc/sys/net/ipv6/conf/all/forwarding",
};

function forwards(family: Family): boolean | undefined {
  try {
    return readFileSync(FORWARDING[family], "utf8").trim() !== "0";
  } catch {
    return undefined;
  }
}

/** The same in JSON, where nothing goes missing. */
function forPrograms({ target, kind, lease, steps, loss, arrives, beyond, notes }: Trace): object {
  return {
    target,
    kind,
    agentAnswers: lease !== undefined,
    lease: lease ?? null,
    steps,
    lost: loss !== undefined,
    problem: loss?.problem ?? null,
    fix: loss?.fix ?? null,
    arrives: loss === undefined ? arrives : null,
    beyond: beyond ?? null,
    notes,
  };
}
