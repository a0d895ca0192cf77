// Writes what scripts/manifests describes into manifests/, or with --check says what is not up to date: `npm run manifests`.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { GENERATED_FOLDERS, manifestFiles } from "./manifests/files.ts";

const FOLDER = join(import.meta.dir, "..", "manifests");
const files = manifestFiles();
const glob = new Bun.Glob(`{${GENERATED_FOLDERS.join(",")}}/**/*`);
const superfluous = [...glob.scanSync({ cwd: FOLDER, dot: true })].filter((path) => !Object.hasOwn(files, path));

if (process.argv.includes("--check")) {
  const stale = superfluous;
  for (const [path, content] of Object.entries(files)) {
    const file = Bun.file(join(FOLDER, path));
    if (!(await file.exists()) || (await file.text()) !== content) stale.push(path);
  }
  for (const path of stale) console.error(`manifests/${path} is not up to date; run npm run manifests`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  for (const path of superfluous) rmSync(join(FOLDER, path));
  for (const [path, content] of Object.entries(files)) await Bun.write(join(FOLDER, path), content);
}
