import { join } from "node:path";
import { compile } from "../../scripts/compile.ts";
import { executable } from "../support/executable.ts";
import { percentile, round, say } from "./measure.ts";

const ROUNDS = 60;

/** What the executable takes to say its version or its help, beside an empty program compiled in the same way. */
export async function benchStartup(folder: string): Promise<object> {
  const source = join(folder, "empty.ts");
  const empty = join(folder, "empty");
  await Bun.write(source, "");
  await compile(source, empty, {});
  const commands = {
    empty: [empty],
    version: [executable(), "--version"],
    help: [executable(), "--help"],
  };
  const times = { empty: time(commands.empty, []), version: time(commands.version, []), help: time(commands.help, []) };
  say(`${ROUNDS} times an empty executable, --version and --help, in turn`);
  for (let round = 0; round < ROUNDS; round++) {
    time(commands.empty, times.empty);
    time(commands.version, times.version);
    time(commands.help, times.help);
  }
  const median = (values: readonly number[]) => percentile(values.slice(1), 0.5);
  const [emptyMs, versionMs, helpMs] = [median(times.empty), median(times.version), median(times.help)];
  return {
    rounds: ROUNDS,
    emptyMs: round(emptyMs),
    versionMs: round(versionMs),
    helpMs: round(helpMs),
    versionMoreMs: round(versionMs - emptyMs),
    helpMoreMs: round(helpMs - emptyMs),
  };
}

/** Runs a command to its end, and adds how many milliseconds that took. */
function time(command: readonly string[], times: number[]): number[] {
  const started = performance.now();
  const { exitCode } = Bun.spawnSync([...command], { stdin: "ignore", stdout: "ignore", stderr: "inherit" });
  times.push(performance.now() - started);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: exit code ${exitCode}`);
  return times;
}
