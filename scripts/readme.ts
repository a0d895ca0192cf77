// Writes the flags' table into README.md, or with --check says whether it is up to date: `npm run readme`.
import { join } from "node:path";
import { flagReferenceMarkdown } from "../src/config/help.ts";

const README = join(import.meta.dir, "..", "README.md");
const PLACE = /(<!-- flags:[^\n]*-->\n)[\s\S]*(<!-- end of flags -->)/;

const before = await Bun.file(README).text();
const after = before.replace(PLACE, (_, start: string, end: string) => `${start}${flagReferenceMarkdown()}\n${end}`);
if (process.argv.includes("--check")) {
  if (before !== after) console.error("README.md: the flags' table is not up to date; run npm run readme");
  process.exitCode = before === after ? 0 : 1;
} else {
  await Bun.write(README, after);
}
