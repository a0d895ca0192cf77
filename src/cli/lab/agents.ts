import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { sleep } from "../../base/backoff.ts";
import { describeError } from "../../base/errors.ts";
import { agentState, type LeaseView, unreadyReasons } from "./agent-api.ts";
import { ENVIRONMENT, inside } from "./command.ts";
import type { LabNode, LabPlan } from "./plan.ts";

const POLL_MS = 50;
/** For an agent to be ready, and then once more for it to have learnt its peers. */
const PATIENCE_MS = 15_000;
/** On top of that, for each node: they all start at once and share the processors. */
const PATIENCE_PER_NODE_MS = 500;
const LOG_LINES = 5;

/** A running agent. */
export interface Agent {
  readonly node: LabNode;
  /** Resolves to how it ended, such as `exit code 1`, once it has. */
  readonly ended: Promise<string>;
}

/** Our own command line: the compiled executable, or the runtime with the program's source. */
function ownCommand(): string[] {
  if (!Bun.isStandaloneExecutable) return [process.execPath, Bun.main];
  // A newer build may have taken the file's place; then this process still holds the one that it runs.
  return [existsSync(process.execPath) ? process.execPath : `/proc/${process.pid}/exe`];
}

/** The command line of a node's agent. */
export function agentCommand(node: LabNode, plan: LabPlan): string[] {
  return inside(node.namespace, [
    ...ownCommand(),
    `--lease-store=${plan.leaseStore}`,
    `--net-config-path=${plan.netConf.path}`,
    `--subnet-file=${node.subnetFile}`,
    "--iface=eth0",
    `--debug-addr=unix:${node.debugSocket}`,
  ]);
}

/** Starts one agent in each node, in a session of its own: Ctrl-C in the terminal reaches the lab alone. */
export function startAgents(plan: LabPlan): Agent[] {
  writeFileSync(plan.netConf.path, plan.netConf.content);
  return plan.nodes.map((node) => {
    const log = openSync(node.logFile, "a");
    try {
      const env = { ...ENVIRONMENT, NODE_NAME: node.name };
      const child = Bun.spawn(agentCommand(node, plan), { env, stdio: ["ignore", log, log], detached: true });
      const ended = child.exited.then((code) =>
        child.signalCode ? `by ${child.signalCode}` : `with exit code ${code}`,
      );
      return { node, ended };
    } finally {
      closeSync(log);
    }
  });
}

/**
 * Waits until an agent is ready, knows all nodes' leases and has programmed them.
 * @returns the node's lease
 * @throws AgentError with the node and why it is not ready
 */
export async function agentReady(agent: Agent, nodeCount: number, signal: AbortSignal): Promise<LeaseView> {
  const patience = PATIENCE_MS + PATIENCE_PER_NODE_MS * nodeCount;
  const { debugSocket } = agent.node;
  await agentBecomes("ready", agent, patience, signal, async () => {
    const reasons = await unreadyReasons(debugSocket, signal);
    return reasons.length === 0 ? { value: true } : { lacks: reasons.join("; ") };
  });
  return agentBecomes("at one with its peers", agent, patience, signal, async () => {
    const { lease, leaseCount, settled } = await agentState(debugSocket, signal);
    if (lease === undefined) return { lacks: "it has no IPv4 lease" };
    if (leaseCount < nodeCount) return { lacks: `it knows ${leaseCount} of ${nodeCount} leases` };
    return settled ? { value: lease } : { lacks: "the kernel is not as it should be" };
  });
}

type Look<T> = { readonly value: T } | { readonly lacks: string };

async function agentBecomes<T>(
  goal: string,
  agent: Agent,
  patienceMs: number,
  signal: AbortSignal,
  look: () => Promise<Look<T>>,
): Promise<T> {
  let ended: string | undefined;
  void agent.ended.then((how) => {
    ended = how;
  });
  let lacks = "it does not answer";
  for (const deadline = performance.now() + patienceMs; ended === undefined && performance.now() < deadline; ) {
    try {
      const found = await look();
      if ("value" in found) return found.value;
      lacks = found.lacks;
    } catch (error) {
      // Its socket comes some time after its start.
      lacks = describeError(error);
    }
    await sleep(POLL_MS, signal);
    signal.throwIfAborted();
  }
  const { name } = agent.node;
  const why = ended === undefined ? `is not ${goal} after ${patienceMs / 1000} s: ${lacks}` : `ended ${ended}`;
  throw new AgentError(`the agent of ${name} ${why}`, lastLines(agent.node.logFile));
}

/** An agent that does not do its work, with the end of its log. */
export class AgentError extends Error {
  override readonly name = "AgentError";
  readonly log: readonly string[];

  constructor(message: string, log: readonly string[]) {
    super(message);
    this.log = log;
  }
}

function lastLines(file: string): string[] {
  return readFileSync(file, "utf8").split("\n").filter(Boolean).slice(-LOG_LINES);
}
