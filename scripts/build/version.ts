// What this checkout is: its version, commit and time.
import { dirname, join } from "node:path";
import * as v from "valibot";

/**
 * The version in package.json with the commit, as in `0.1.0+1a2b3c4d5e6f.dirty`; without git, the former alone.
 * @param root the checkout
 */
export async function versionOf(root: string): Promise<string> {
  const { version } = v.parse(v.object({ version: v.string() }), await Bun.file(join(root, "package.json")).json());
  const commit = await git(root, ["describe", "--always", "--dirty=.dirty", "--abbrev=12", "--exclude=*"]);
  return commit === undefined ? version : `${version}+${commit}`;
}

/** The whole name of the commit, or undefined without git. */
export async function revisionOf(root: string): Promise<string | undefined> {
  return git(root, ["rev-parse", "HEAD"]);
}

/**
 * The time that everything made from this checkout is said to be of: SOURCE_DATE_EPOCH, else the commit's, else 0.
 * @returns seconds since 1970
 * @throws Error if SOURCE_DATE_EPOCH is no such number
 */
export async function epochOf(root: string): Promise<number> {
  const named = process.env["SOURCE_DATE_EPOCH"];
  if (named === undefined || named === "") return Number((await git(root, ["log", "-1", "--format=%ct"])) ?? 0);
  if (!/^\d{1,10}$/.test(named)) throw new Error(`SOURCE_DATE_EPOCH is not a number of seconds since 1970: ${named}`);
  return Number(named);
}

/** @returns what git printed, or undefined if there is no git, or no repository here */
async function git(root: string, args: readonly string[]): Promise<string | undefined> {
  if (Bun.which("git") === null) return undefined;
  // Not the commit of a repository around an unpacked archive of this one.
  const env = { ...process.env, GIT_CEILING_DIRECTORIES: dirname(root) };
  const child = Bun.spawn(["git", "-C", root, ...args], { env, stdout: "pipe", stderr: "ignore" });
  const [text, code] = await Promise.all([child.stdout.text(), child.exited]);
  return code === 0 ? text.trim() : undefined;
}
