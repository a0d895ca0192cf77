// Writes the flags' table into README.md, or with --check says whether it is up to date: `npm run readme`.
import { join } from "node:path";
import { flagReferenceMarkdown } from "../src/config/help.ts";

const ROOT = join(import.meta.dir, "..");
const README = join(ROOT, "README.md");
const PLACE = /(<!-- flags:[^\n]*-->\n)[\s\S]*(<!-- end of flags -->)/;

const before = await Bun.file(README).text();
const after = format(
  before.replace(PLACE, (_, start: string, end: string) => `${start}${flagReferenceMarkdown()}\n${end}`),
);
if (process.argv.includes("--check")) {
  if (before !== after) console.error("README.md: the flags' table is not up to date; run npm run readme");
  process.exitCode = before === after ? 0 : 1;
} else {
  await Bun.write(README, after);
}

/** As the linter wants the file to be. */
function format(text: string): string {
  const command = [join(ROOT, "node_modules", ".bin", "biome"), "format", "--stdin-file-path=README.md"];
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { cwd: ROOT, stdin: Buffer.from(text), stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`biome format: ${stderr.toString()}`);
  return stdout.toString();
}
