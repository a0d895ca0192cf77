import { describeError, exitCodeOf, UsageError } from "./base/errors.ts";
import { VERSION } from "./base/version.ts";
import { COMMANDS, isCommand } from "./cli/commands.ts";

/**
 * Picks what to run: the CNI plugin if a container runtime calls (which says so in the environment), a subcommand if the
 * first argument names one, else the agent. Each is loaded only when used.
 */

async function help(): Promise<string> {
  const { flagHelp } = await import("./config/help.ts");
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(14)}  ${summary}`);
  return [
    "tartan keeps a node's part of a Kubernetes pod network, compatible with flannel.",
    "",
    "Usage:",
    "  tartan [flags]            run the agent of this node",
    "  tartan COMMAND [flags]    see tartan COMMAND --help",
    "",
    "Commands:",
    ...commands,
    "",
    flagHelp(),
  ].join("\n");
}

async function agent(args: readonly string[]): Promise<number> {
  const { parseAgentFlags } = await import("./config/flags.ts");
  const flags = parseAgentFlags(args, process.env);
  if (flags.help) {
    process.stdout.write(`${await help()}\n`);
    return 0;
  }
  if (flags.version) {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  return (await import("./agent/agent.ts")).runAgent(flags, process.env);
}

async function main(args: readonly string[]): Promise<number> {
  if (process.env["CNI_COMMAND"]) return (await import("./cni/cni.ts")).runCni(process.env);
  const [first, ...rest] = args;
  if (first === undefined || first.startsWith("-")) return agent(args);
  if (first === "help") return agent(["--help"]);
  if (isCommand(first)) return COMMANDS[first].run(rest);
  const names = Object.keys(COMMANDS);
  const meant = (await import("./config/nearest.ts")).nearest(first, names);
  const help = meant === undefined ? `commands are ${names.join(", ")}` : `did you mean ${meant}?`;
  throw new UsageError(`there is no command ${first}: ${help}; see tartan --help`);
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  process.stderr.write(`tartan: ${describeError(error)}\n`);
  process.exit(exitCodeOf(error));
}
