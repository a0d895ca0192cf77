import { AgentAwayError, describeError } from "../../base/errors.ts";
import type { Desired } from "../../desired/desired.ts";
import { KernelError } from "../../ffi/errors.ts";
import { type NamedChange, nameChange } from "../../kernel/changes.ts";
import { Comparison } from "../../kernel/diff.ts";
import { AGENT_OPTIONS, AgentClient } from "../client.ts";
import { LocalNode, NODE_OPTIONS, readSubnetEnv } from "../local-node.ts";
import { type CommandSpec, HELP, optionsHelp, parseOptions } from "../options.ts";
import { plural, print, printJson, type Screen, screenOf, TABLE_OUTPUT } from "../output.ts";
import { type Colour, table } from "../table.ts";
import { desiredFrom, isAgentsKernel } from "./desired.ts";
import { contradictions } from "./kernel-alone.ts";

/** `tartan diff`: what is desired held against the kernel, as a plan. */

const OPTIONS = { output: TABLE_OUTPUT, ...AGENT_OPTIONS, ...NODE_OPTIONS, help: HELP };
export const DIFF: CommandSpec = { options: OPTIONS, args: {} };

const TEXT = `Usage: tartan diff [OPTION]...

Holds what the agent wants in the kernel against what the kernel has, and shows
what would have to be done: + to add, ~ to change, - to remove. The command
reads the kernel by itself; run in another network namespace than the agent's,
it takes the agent's own view. It changes nothing.

If the agent does not answer nobody knows what is desired. What the kernel alone
can tell is checked then: routes without a neighbour, neighbours without a
forwarding entry, devices that are missing or down.

Options:
${optionsHelp(OPTIONS)}

Exit code: 0 the kernel is as desired; 1 it is not; 2 wrong options; 3 the agent
does not answer, and the kernel alone shows nothing wrong.
`;

/** What was held against what. */
type Source = "kernel" | "agent" | "kernelAlone";

interface Found {
  readonly source: Source;
  readonly changes: readonly NamedChange[];
  /** what is ours and not desired is removed; undefined where nothing is desired */
  readonly pruning?: boolean;
  readonly remarks: readonly string[];
}

/** @returns the exit code @throws UsageError, KernelError, Error with what the agent answers */
export async function runDiff(args: readonly string[]): Promise<number> {
  const options = parseOptions(OPTIONS, args);
  if (options.help) {
    await print(TEXT);
    return 0;
  }
  let found: Found;
  try {
    found = await againstDesired(new AgentClient(options));
  } catch (error) {
    if (!(error instanceof AgentAwayError)) throw error;
    found = kernelAlone(error, options["subnet-file"]);
  }
  const { source, changes, pruning, remarks } = found;
  for (const remark of remarks) process.stderr.write(`tartan: ${remark}\n`);
  if (options.output === "json") {
    const settled = source === "kernelAlone" ? null : changes.length === 0;
    await printJson({ source, settled, pruning: pruning ?? null, changes });
  } else {
    await print(planText(found, screenOf(process.stdout, options.output === "wide")));
  }
  if (changes.length > 0) return 1;
  return source === "kernelAlone" ? 3 : 0;
}

async function againstDesired(agent: AgentClient): Promise<Found> {
  const [answer, { pruning, items }] = await Promise.all([agent.list("desired"), agent.list("diff")]);
  const desired = desiredFrom(answer);
  const agentsView = (why: string): Found => ({ source: "agent", changes: items, pruning, remarks: [why] });
  if (desired.devices.length === 0)
    return agentsView("the agent does not want anything in the kernel yet, see tartan status");
  try {
    return (
      readHere(desired, pruning) ??
      agentsView("this is not the agent's network namespace: the kernel as the agent knows it")
    );
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return agentsView(`the kernel as the agent knows it: ${describeError(error)}`);
  }
}

function readHere(desired: Desired, pruning: boolean): Found | undefined {
  using node = new LocalNode();
  const actual = node.read(desired.networks);
  if (!isAgentsKernel(desired, actual)) return undefined;
  const operations = new Comparison(desired, actual, { prune: pruning }).all();
  return { source: "kernel", changes: operations.map(nameChange), pruning, remarks: [] };
}

function kernelAlone(away: AgentAwayError, subnetFile: string): Found {
  using node = new LocalNode();
  const changes = contradictions(node.read(), readSubnetEnv(subnetFile));
  return { source: "kernelAlone", changes, remarks: [`what is desired is not known: ${describeError(away)}`] };
}

const SIGNS: Readonly<
  Record<NamedChange["action"], { readonly sign: string; readonly colour: Colour; readonly word: string }>
> = {
  add: { sign: "+", colour: "green", word: "to add" },
  change: { sign: "~", colour: "yellow", word: "to change" },
  remove: { sign: "-", colour: "red", word: "to remove" },
};

const HEADS: Readonly<Record<Source, string>> = {
  kernel: "the kernel, read by this command",
  agent: "the kernel, as the agent knows it",
  kernelAlone: "the kernel by itself",
};

const COLUMNS = [{ title: " " }, { title: "WHAT" }, { title: "OBJECT", shrink: 24 }, { title: "WHY", shrink: 12 }];

/** A plan for the eye. */
export function planText(
  { source, changes, pruning }: Pick<Found, "source" | "changes" | "pruning">,
  screen: Screen,
): string {
  const head = HEADS[source];
  if (changes.length === 0) {
    const good = source === "kernelAlone" ? "shows nothing wrong" : "is as desired";
    const comma = source === "kernelAlone" ? "" : ",";
    return `${screen.paint("green", `${head[0]?.toUpperCase()}${head.slice(1)}${comma} ${good}.`)}\n`;
  }
  const rows = changes.map(({ action, kind, object, why }) => [SIGNS[action].sign, kind, object, why]);
  const [, ...lines] = table(COLUMNS, rows, screen.width);
  const coloured = lines.map((line, at) => {
    const action = changes[at]?.action;
    return action === undefined ? line : screen.paint(SIGNS[action].colour, line);
  });
  const parts = (["add", "change", "remove"] as const).flatMap((action) => {
    const count = changes.filter((change) => change.action === action).length;
    return count === 0 ? [] : [`${count} ${SIGNS[action].word}`];
  });
  const kept = pruning === false ? "; what is not desired stays until the leases are complete" : "";
  return `${[...coloured, `${plural(changes.length, "change")}: ${parts.join(", ")} (${head}${kept})`].join("\n")}\n`;
}
