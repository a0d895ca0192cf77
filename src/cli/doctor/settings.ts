import { readFileSync, readlinkSync } from "node:fs";
import * as v from "valibot";
import { describeError } from "../../base/errors.ts";
import { type AgentFlags, parseAgentFlags } from "../../config/flags.ts";
import { lexArguments } from "../../config/lex-flags.ts";
import { type RunningAgent, runningAgents } from "../running-agents.ts";
import { type AgentAnswer, askAgent } from "./agent-api.ts";

type Environment = Readonly<Record<string, string | undefined>>;
export type LeaseSourceName = "etcd" | "kubernetes" | "embedded";

/** How this node's agent is, or would be, configured. */
export interface Settings {
  readonly flags: AgentFlags;
  /** with NODE_NAME and the like, as the agent has it */
  readonly environment: Environment;
  /** where the flags come from */
  readonly from: string;
  /** undefined: nothing says which */
  readonly leaseSource: LeaseSourceName | undefined;
  /** the agent has another root than this process, so that files of its flags are not to be found here */
  readonly isAgentApart: boolean;
  /** in this network namespace */
  readonly agents: readonly RunningAgent[];
  readonly answer: AgentAnswer;
  /** what was in the way of a better source of the flags */
  readonly problems: readonly string[];
}

/** Flags that say where leases are. */
const SOURCE_FLAGS = /^(lease-store|kube-|kubeconfig-file|etcd-)/;

/**
 * The flags: those given here, else those of the agent that runs here, from its own command line or as it tells them, else
 * the defaults.
 * @throws UsageError about what is given here
 */
export async function findSettings(args: readonly string[], environment: Environment): Promise<Settings> {
  const given = parseAgentFlags(args, environment);
  const names = lexArguments(args).map(({ name }) => name);
  const agents = runningAgents();
  const problems: string[] = [];
  if (names.some((name) => !name.startsWith("debug-"))) {
    const isSourceGiven = [...names, ...environmentNames(environment)].some((name) => SOURCE_FLAGS.test(name));
    return {
      ...{ flags: given, environment, from: "the flags given here", isAgentApart: false, agents, problems },
      leaseSource: isSourceGiven ? sourceOf(given) : undefined,
      answer: await askAgent(given.debugAddresses),
    };
  }
  for (const agent of agents) {
    try {
      const own = commandOf(agent);
      const flags = parseAgentFlags(own.args, own.environment);
      const addresses = names.length > 0 ? given.debugAddresses : flags.debugAddresses;
      return {
        ...{ flags, environment: own.environment, agents, problems, leaseSource: sourceOf(flags) },
        from: `the command line of ${agent.name} (process ${agent.pid})`,
        isAgentApart: mountsOf(`${agent.pid}`) !== mountsOf("self"),
        answer: await askAgent(addresses),
      };
    } catch (error) {
      problems.push(`the flags of ${agent.name} (process ${agent.pid}) can't be read: ${describeError(error)}`);
    }
  }
  const answer = await askAgent(given.debugAddresses);
  const told = answer.view && toldFlags(given, answer.view.config.flags);
  if (told !== undefined) {
    const from = `the agent at ${answer.address}`;
    return {
      ...{ flags: told, environment, from, agents, problems, leaseSource: sourceOf(told), answer },
      isAgentApart: true,
    };
  }
  const isSourceGiven = environmentNames(environment).some((name) => SOURCE_FLAGS.test(name));
  const leaseSource = isSourceGiven ? sourceOf(given) : undefined;
  const none = isRoot() ? "no agent runs here" : "no agent is seen here without root";
  const from = agents.length > 0 ? "defaults" : `defaults, as ${none}`;
  return {
    ...{ flags: given, environment, from, isAgentApart: false },
    ...{ leaseSource, agents, answer, problems },
  };
}

/** Only root sees what other users' processes are. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** The mount namespace of a process. */
function mountsOf(process: string): string {
  return readlinkSync(`/proc/${process}/ns/mnt`);
}

function environmentNames(environment: Environment): string[] {
  return Object.keys(environment)
    .filter((name) => name.startsWith("FLANNELD_"))
    .map((name) => name.slice("FLANNELD_".length).toLowerCase().replaceAll("_", "-"));
}

function sourceOf({ leaseStore, kubernetes }: AgentFlags): LeaseSourceName {
  if (leaseStore !== undefined) return "embedded";
  return kubernetes === undefined ? "etcd" : "kubernetes";
}

/** @throws Error if the process is gone, or somebody else's */
function commandOf({ pid }: RunningAgent): { args: string[]; environment: Environment } {
  const [, ...args] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  const variables = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").filter(Boolean);
  const entries = variables.map((text) => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)]);
  return { args, environment: Object.fromEntries(entries) };
}

const Text = v.exactOptional(v.string());

/** The agent's flags as it tells them, in the form of AgentFlags. */
const ToldFlags = v.object({
  leaseStore: Text,
  etcd: v.exactOptional(
    v.object({
      endpoints: v.array(v.string()),
      prefix: v.string(),
      tls: v.object({ caFile: Text, certFile: Text, keyFile: Text }),
    }),
  ),
  kubernetes: v.exactOptional(
    v.object({
      apiUrl: Text,
      kubeconfigFile: Text,
      annotationPrefix: v.string(),
      setNodeNetworkUnavailable: v.boolean(),
    }),
  ),
  netConfigPath: v.string(),
  subnetFile: v.string(),
  cniConf: v.exactOptional(v.object({ source: v.string(), file: v.string() })),
  iface: v.array(v.string()),
  ifaceRegex: v.array(v.string()),
  ipMasq: v.boolean(),
  forwardRules: v.boolean(),
  vxlanTxChecksum: v.picklist(["auto", "on", "off"]),
});

/** @returns undefined if they are told in another form; a password is never told, so etcd is asked without a user */
function toldFlags(defaults: AgentFlags, told: Readonly<Record<string, unknown>>): AgentFlags | undefined {
  const parsed = v.safeParse(ToldFlags, told);
  if (!parsed.success) return undefined;
  const { etcd: _etcd, kubernetes: _kubernetes, leaseStore: _leaseStore, ...rest } = defaults;
  return { ...rest, ...parsed.output };
}
