import { existsSync } from "node:fs";
import { familiesOf, type PerFamily } from "../../net/family.ts";
import { agentState, type LeaseView, unreadyReasons } from "./agent-api.ts";
import { type Child, childBecomes, startChild } from "./child.ts";
import { inside } from "./command.ts";
import { leaseFlags } from "./lease-plan.ts";
import { ownCommand } from "./own-command.ts";
import type { LabNode, LabPlan } from "./plan.ts";

/** For an agent to be ready, and then once more for it to have learnt its peers. */
const PATIENCE_MS = 15_000;
/** On top of that, for each node: they all start at once and share the processors. */
const PATIENCE_PER_NODE_MS = 500;

/** A running agent. */
export interface Agent extends Child {
  readonly node: LabNode;
}

/** What an agent has made of its node. */
interface ReadyAgent {
  /** the node's lease */
  readonly leases: PerFamily<LeaseView>;
  /** what its rules are written by, such as `iptables-nft` */
  readonly rules: string;
}

/** The command line of a node's agent. */
function agentCommand(node: LabNode, plan: LabPlan): string[] {
  return inside(node.namespace, [
    ...ownCommand(),
    ...leaseFlags(plan.lease, plan.netConf.path),
    `--subnet-file=${node.subnetFile}`,
    `--cni-conf-source=${node.cni.source.path}`,
    `--cni-conf-file=${node.cni.conflist}`,
    "--iface=eth0",
    "--ip-masq",
    `--debug-addr=unix:${node.debugSocket}`,
    `--debug-socket=${node.commandSocket}`,
  ]);
}

/** Starts one agent in each node. */
export function startAgents(plan: LabPlan): Agent[] {
  return plan.nodes.map((node) => {
    const { name, logFile } = node;
    const child = startChild({
      name: `the agent of ${name}`,
      command: agentCommand(node, plan),
      variables: { NODE_NAME: name },
      logFile,
    });
    return { ...child, node };
  });
}

/**
 * Waits until an agent is ready and has told the container runtime so, knows all nodes' leases and has programmed them.
 * @throws ChildError with the node and why it is not ready
 */
export async function agentReady(agent: Agent, nodeCount: number, signal: AbortSignal): Promise<ReadyAgent> {
  const patience = PATIENCE_MS + PATIENCE_PER_NODE_MS * nodeCount;
  const { debugSocket, addresses, cni } = agent.node;
  await childBecomes("ready", agent, patience, signal, async () => {
    const reasons = await unreadyReasons(debugSocket, signal);
    if (reasons.length > 0) return { lacks: reasons.join("; ") };
    return existsSync(cni.conflist) ? { value: true } : { lacks: `it has not written ${cni.conflist}` };
  });
  return childBecomes("at one with its peers", agent, patience, signal, async () => {
    const { leases, leaseCount, settled, rules } = await agentState(debugSocket, signal);
    const missing = familiesOf(addresses).filter((family) => leases[family] === undefined);
    if (missing.length > 0) return { lacks: `it has no IPv${missing[0]} lease` };
    if (leaseCount < nodeCount) return { lacks: `it knows ${leaseCount} of ${nodeCount} leases` };
    if (rules === undefined) return { lacks: "it has made no rules" };
    return settled ? { value: { leases, rules } } : { lacks: "the kernel is not as it should be" };
  });
}
