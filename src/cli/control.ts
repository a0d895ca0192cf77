import * as v from "valibot";
import { DEBUG_SOCKET, LogLevel, ResyncAsked } from "../api/commands.ts";
import { mustBe } from "../config/schema.ts";
import { AGENT_OPTIONS, AgentClient, understoodAs } from "./client.ts";
import { type CommandSpec, HELP, OUTPUT, optionsHelp, parseOptions } from "./options.ts";
import { print, printJson } from "./output.ts";

/** What the agent does when it is asked over its socket, which takes no other's word than root's: `resync`, `log-level`. */

// The agent takes it over its socket alone.
const OPTIONS = {
  output: OUTPUT,
  socket: { ...AGENT_OPTIONS.socket, usage: `the agent's socket; ${DEBUG_SOCKET} if not given` },
  help: HELP,
};
const LEVELS = LogLevel.entries.level.options;
const LEVEL_NAMES = LEVELS.join(", ").replace(/, (?=\w+$)/, " or ");
const ARGS = {
  level: { usage: LEVEL_NAMES, schema: v.picklist(LEVELS, mustBe(LEVEL_NAMES)) },
};
export const RESYNC: CommandSpec = { options: OPTIONS, args: {} };
export const LOG_LEVEL: CommandSpec = { options: OPTIONS, args: ARGS };

const RESYNC_TEXT = `Usage: tartan resync [OPTION]...

Lets the agent read the kernel's state and its rules anew and mend what is not
as it should be, as it does every --resync by itself. What it finds is in
tartan events. Needs root.

Options:
${optionsHelp(OPTIONS)}

Exit code: 0 the agent knows of it; 1 it refuses; 2 wrong options; 3 it does not
answer.
`;

const LEVEL_TEXT = `Usage: tartan log-level [OPTION]... LEVEL

Lets the agent log more or less until it ends: ${LEVELS.join(", ")}. Needs root.

Options:
${optionsHelp(OPTIONS)}

Exit code: 0 it does; 1 it refuses; 2 wrong options; 3 it does not answer.
`;

/** @returns the exit code @throws UsageError, AgentAwayError, Error with what the agent answers */
export async function runResync(args: readonly string[]): Promise<number> {
  const options = parseOptions(OPTIONS, args);
  if (options.help) {
    await print(RESYNC_TEXT);
    return 0;
  }
  const client = clientOf(options.socket);
  const answer = understoodAs(ResyncAsked, "resync", await client.json("/debug/resync", { method: "POST" }));
  if (options.output === "json") await printJson(answer);
  else await print(`asked at ${answer.askedAt}\n`);
  return 0;
}

/** @returns the exit code @throws UsageError, AgentAwayError, Error with what the agent answers */
export async function runLogLevel(args: readonly string[]): Promise<number> {
  const options = parseOptions(OPTIONS, args, ARGS);
  if (options.help) {
    await print(LEVEL_TEXT);
    return 0;
  }
  const init = {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ level: options.level }),
  };
  const answer = understoodAs(LogLevel, "log-level", await clientOf(options.socket).json("/debug/log-level", init));
  if (options.output === "json") await printJson(answer);
  else await print(`the agent logs ${answer.level}\n`);
  return 0;
}

function clientOf(
  given: typeof AGENT_OPTIONS.socket.schema extends v.GenericSchema<unknown, infer T> ? T : never,
): AgentClient {
  return new AgentClient({ socket: given ?? { kind: "unix", path: DEBUG_SOCKET }, address: undefined });
}
