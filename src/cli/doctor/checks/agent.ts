import { readlinkSync } from "node:fs";
import type { Peer } from "../../../api/peers.ts";
import { VERSION } from "../../../base/version.ts";
import type { PeersView } from "../agent-api.ts";
import { type Check, error, type Finding, NotApplicable, ok, orOk, plural, warning } from "../check.ts";
import { isRoot } from "../settings.ts";

/** The agent of this node: whether it runs, answers, is ready and reaches the others. */

export interface AgentProcess {
  readonly pid: number;
  readonly name: string;
  /** its executable; undefined where that can't be read */
  readonly executable: string | undefined;
}

export interface AgentFacts {
  readonly processes: readonly AgentProcess[];
  /** where it answers; undefined: nowhere */
  readonly address: string | undefined;
  /** why it does not answer, by address */
  readonly problems: readonly string[];
  /** names of the VXLAN devices that an agent made here, now or before */
  readonly devices: readonly string[];
}

/** Whether one agent runs here and answers. Pure. */
export function judgeAgent({ processes, address, problems, devices }: AgentFacts): Finding[] {
  const named = processes.map(({ name, pid }) => `${name} (process ${pid})`).join(", ");
  const findings: Finding[] = [];
  if (processes.length > 1) {
    findings.push(
      error(
        `${processes.length} agents run in this network namespace, and each undoes what the other does: ${named}`,
        "stop all but one of them",
      ),
    );
  }
  if (address !== undefined) findings.push(ok(`it runs${named && ` as ${named}`} and answers at ${address}`));
  else if (processes.length > 0) {
    findings.push(
      warning(
        `${named} runs here, but ${problems.join("; ") || "its --debug-addr is off"}`,
        "tartan doctor --debug-addr=ADDRESS, as the agent has it; see its log if it does not listen there",
      ),
    );
  }
  if (address === undefined && processes.length === 0 && devices.length > 0) {
    findings.push(
      warning(
        `no agent runs here, though ${devices.join(" and ")} is there: packets go as the kernel has it, and nobody follows changes`,
        "start the agent; if it does not stay, its log says why\nif this node is to have none any more: tartan cleanup",
      ),
    );
  }
  const foreign = processes.filter(({ executable }) => executable !== undefined && /\/flanneld$/.test(executable));
  for (const { pid } of foreign) {
    findings.push(
      warning(
        `flanneld (process ${pid}) keeps this node's part of the network; tartan takes over what it made`,
        "stop flanneld before tartan starts",
      ),
    );
  }
  return findings;
}

const running: Check = {
  group: "Agent",
  name: "agent",
  find: (context) => {
    const { agents, answer, problems } = context.settings;
    const processes = agents.map((agent) => ({ ...agent, executable: executableOf(agent.pid) }));
    // Only root sees that no agent is there.
    const devices = isRoot() ? context.kernel().ownDevices.map(({ name }) => name) : [];
    const findings = judgeAgent({ processes, address: answer.address, problems: answer.problems, devices });
    if (answer.view === undefined)
      findings.push(...problems.map((text) => warning(text, "run it with sudo, or give the agent's flags")));
    if (findings.length === 0) {
      throw new NotApplicable(
        isRoot()
          ? "no agent runs in this network namespace"
          : "none answers, and whether one runs only root can see: run it with sudo",
      );
    }
    return findings;
  },
};

function executableOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

/** More peers than these are only counted. */
const MOST = 10;

const isBad = ({ state }: Pick<Peer, "state">) => state !== "up" && state !== "unknown";

/** What an agent says of its own health. */
export interface ReadinessFacts {
  readonly ready: boolean;
  readonly reasons: readonly { readonly condition: string; readonly message: string }[];
  readonly warnings: readonly { readonly condition: string; readonly message: string }[];
}

const LED_TO_IT = "see tartan events, and the agent's log, for what led to it";

/** Its reasons are errors, its warnings warnings. @param bad the peers that are told of elsewhere. Pure. */
export function judgeReadiness(facts: ReadinessFacts, bad: readonly Pick<Peer, "node" | "key">[] = []): Finding[] {
  const { ready, reasons } = facts;
  const where = LED_TO_IT;
  const isTold = (message: string) =>
    bad.some(({ node, key }) => message.startsWith(`peer ${node ?? key}: `) || message.startsWith(`lease ${key} `));
  const warnings = facts.warnings.filter(({ condition, message }) => condition !== "peers" || !isTold(message));
  const isElsewhere = warnings.length < facts.warnings.length;
  return [
    ...reasons.map(({ condition, message }) => error(`not ready (${condition}): ${message}`, where)),
    ...warnings.map(({ condition, message }) => warning(`(${condition}) ${message}`, where)),
    ...(ready && warnings.length === 0
      ? [ok(`it is ready, and warns of nothing${isElsewhere ? " but peers" : ""}`)]
      : []),
    ...(!ready && reasons.length === 0 ? [error("it is not ready, and does not say why", where)] : []),
  ];
}

const readiness: Check = {
  group: "Agent",
  name: "readiness",
  find: ({ agent, settings }) => {
    if (agent === undefined) throw new NotApplicable("no agent answers here");
    return judgeReadiness(agent.readiness, settings.answer.peers?.items.filter(isBad).slice(0, MOST));
  },
};

/** An agent of another version than the executable on the disk was not restarted. Pure. */
export function judgeVersion(agent: string, own: string): Finding {
  return agent === own
    ? ok(`it is ${own}, as this executable`)
    : warning(
        `the agent is ${agent}, this executable ${own}`,
        "restart the agent, or run the doctor of the agent's version",
      );
}

const version: Check = {
  group: "Agent",
  name: "agent-version",
  find: ({ agent }) => {
    if (agent === undefined) throw new NotApplicable("no agent answers here");
    return [judgeVersion(agent.version, VERSION)];
  },
};

/** Nodes that can't be reached, or only half. Pure. */
export function judgePeers({ items, counts }: PeersView): readonly Finding[] {
  const bad = items.filter(isBad);
  const findings = bad.slice(0, MOST).map(({ node, key, state, why, fix }) => {
    const message = `${node ?? key} is ${STATES[state] ?? state}${why ? `: ${why}` : ""}`;
    return warning(message, fix ?? `look at that node: run tartan doctor there`);
  });
  if (bad.length > MOST) {
    findings.push(
      warning(`${bad.length - MOST} more nodes are not reached as they should be`, "tartan peers shows all"),
    );
  }
  const unknown = counts.unknown > 0 ? `, ${counts.unknown} not probed` : "";
  return orOk(
    findings,
    `${plural(counts.up, "other node")} answer${counts.up === 1 ? "s" : ""} through the overlay${unknown}`,
  );
}

const STATES: Readonly<Record<string, string>> = {
  down: "down",
  notProgrammed: "not programmed",
  leftOut: "left out",
  degraded: "degraded",
};

const peers: Check = {
  group: "Agent",
  name: "peers",
  find: ({ settings: { answer } }) => {
    if (answer.view === undefined) throw new NotApplicable("no agent answers here");
    if (answer.peers === undefined) throw new NotApplicable("the agent does not tell of other nodes");
    return judgePeers(answer.peers);
  },
};

export const AGENT_CHECKS = [running, readiness, version, peers];
