import { dirname, join } from "node:path";

const ROOT = dirname(dirname(import.meta.dir));
let path: string | undefined;

/** The path of dist/tartan, built first unless it is up to date. @throws Error with what the build printed */
export function executable(): string {
  if (path !== undefined) return path;
  const build = Bun.spawnSync([process.execPath, "build.ts", "--quiet"], { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  if (build.exitCode !== 0) throw new Error(`build.ts failed: ${build.stderr.toString()}${build.stdout.toString()}`);
  path = join(ROOT, "dist", "tartan");
  return path;
}
