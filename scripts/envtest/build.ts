// The build, step by step. Each leaves its outcome whole or not at all, so that the next run goes on after the last one.
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { BuildError, Commands, InterruptedError, stopIfInterrupted } from "./commands.ts";
import { findGo, GoTree, goEnvironment } from "./go.ts";
import { fetchSource, unpackSource, versionIn } from "./source.ts";

export const GO_PACKAGES = ["golang-1.19-go", "golang-1.19-src"] as const;
export const PATCH_PACKAGE = "patch";
export const LOG = "log";
/** What must not last from one run to the next, in the folder of the build. */
const FRESH = ["tmp", "go", "apt"];

export interface BuildOptions {
  readonly names: readonly string[];
  /** folder of the build, kept between runs; what a set-up unpacked is beside it in `debs` */
  readonly work: string;
  /** folder of the outcome, on the same file system */
  readonly cache: string;
}

/** @throws BuildError that names the step, InterruptedError */
export async function build({ names, work, cache }: BuildOptions): Promise<void> {
  const at = (name: string) => join(work, name);
  const debs = (...parts: string[]) => join(dirname(work), "debs", ...parts);
  for (const folder of FRESH) rmSync(at(folder), { recursive: true, force: true });
  mkdirSync(at("tmp"), { recursive: true });
  await Bun.write(at(LOG), "");
  const commands = new Commands(at(LOG));

  const source = at("source");
  await step("fetch Debian's source package kubernetes", source, async (partial) => {
    await fetchSource(commands, at("apt"), partial);
    versionIn(partial);
  });
  const version = versionIn(source);

  const unpacked = GO_PACKAGES.map((name) => debs(name));
  const root = await findGo(commands, unpacked, at("go"));
  const tools = debs(PATCH_PACKAGE, "usr", "bin");
  const environment = goEnvironment({ root, cache: at("go-cache"), temporary: at("tmp"), tools });
  const goPath = at("gopath");
  await step(`unpack Kubernetes ${version} and generate its OpenAPI definitions`, goPath, async (partial) => {
    const tree = new GoTree(commands, partial, environment);
    await unpackSource(commands, source, tree.sources, environment);
    await tree.generateOpenapi();
  });

  const tree = new GoTree(commands, goPath, environment);
  for (const name of names) {
    const compile = async (partial: string) => {
      await tree.compile(name, version, partial);
      const told = (await commands.run([partial, "--version"])).trim();
      if (told !== `Kubernetes v${version}`) throw new BuildError(`its --version says '${told}', not v${version}`);
    };
    await step(`compile ${name}`, join(cache, name), compile, at(name));
  }
}

/**
 * Makes a file or folder under another name, and gives it its own when it is complete; tells that in one line with the
 * time that it took. What is there already stays.
 * @throws BuildError that names the step, InterruptedError
 */
async function step(
  what: string,
  target: string,
  make: (partial: string) => Promise<void>,
  partial = `${target}.partial`,
): Promise<void> {
  if (existsSync(target)) return;
  stopIfInterrupted();
  process.stderr.write(`envtest: ${what} … `);
  const started = performance.now();
  try {
    rmSync(partial, { recursive: true, force: true });
    await make(partial);
    stopIfInterrupted();
    renameSync(partial, target);
  } catch (error) {
    process.stderr.write("\n");
    if (error instanceof InterruptedError) throw error;
    const { next } = error instanceof BuildError ? error : {};
    const reason = error instanceof Error ? error.message : String(error);
    throw new BuildError(`can't ${what}: ${reason}`, { cause: error, ...(next === undefined ? {} : { next }) });
  }
  process.stderr.write(`${duration(performance.now() - started)}\n`);
}

/** As in `3 min 12 s`. */
function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
