import { AgentAwayError, describeError } from "../../base/errors.ts";
import { VERSION } from "../../base/version.ts";
import { AGENT_OPTIONS, AgentClient } from "../client.ts";
import { NODE_OPTIONS } from "../local-node.ts";
import { type CommandSpec, HELP, OUTPUT, optionsHelp, parseOptions } from "../options.ts";
import { print, printJson, remark, screenOf } from "../output.ts";
import { kernelStatus, kernelStatusLines } from "./kernel.ts";
import { lines, statusLines, versionLines } from "./text.ts";

/** `tartan status`: this node on one screen. */

const OPTIONS = { output: OUTPUT, ...AGENT_OPTIONS, ...NODE_OPTIONS, help: HELP };
export const STATUS: CommandSpec = { options: OPTIONS, args: {} };

const TEXT = `Usage: tartan status [OPTION]...

Shows this node on one screen: whether it is ready and why not, warnings, its
lease, the backend, peers, rules, the last repairs, and the versions of the
agent that runs and of this executable. If the agent does not answer it shows
what the kernel and subnet.env say.

Options:
${optionsHelp(OPTIONS)}

Exit code: 0 ready; 1 not ready; 2 wrong options; 3 the agent does not answer.
`;

const REPAIRS = { kind: "repaired,rulesRepaired" };
/** of the last ones */
const MOST_REPAIRS = 3;

/** @returns the exit code @throws UsageError, KernelError, Error with what the agent answers */
export async function runStatus(args: readonly string[]): Promise<number> {
  const options = parseOptions(OPTIONS, args);
  if (options.help) {
    await print(TEXT);
    return 0;
  }
  const isJson = options.output === "json";
  const screen = screenOf(process.stdout);
  const agent = new AgentClient(options);
  try {
    const [state, events] = await Promise.all([agent.get("state"), agent.list("events", REPAIRS)]);
    const repairs = events.items.slice(-MOST_REPAIRS);
    if (isJson) await printJson({ agentAnswers: true, executableVersion: VERSION, state, repairs });
    else await print(lines(statusLines({ state, repairs, version: VERSION, now: Date.now() }), screen));
    return state.readiness.ready ? 0 : 1;
  } catch (error) {
    if (!(error instanceof AgentAwayError)) throw error;
    remark(describeError(error));
    const kernel = kernelStatus(options["subnet-file"]);
    if (isJson) await printJson({ agentAnswers: false, executableVersion: VERSION, kernel });
    else await print(lines([...kernelStatusLines(kernel), ...versionLines(VERSION, VERSION)], screen));
    return 3;
  }
}
