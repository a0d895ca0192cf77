// Makes dist/tartan: `bun build.ts [--quiet]`, or the images: `bun build.ts image`, see its --help.
import { parseArgs } from "node:util";
import { buildExecutable } from "./scripts/build/executable.ts";

const ROOT = import.meta.dir;

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (command === "image") return (await import("./scripts/image/command.ts")).runImageCommand(ROOT, rest);
  const { values } = parseArgs({ args: [...args], options: { quiet: { type: "boolean", default: false } } });
  await buildExecutable(ROOT, (text) => {
    if (!values.quiet) console.log(text);
  });
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
