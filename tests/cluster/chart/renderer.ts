import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { goEnvironment } from "../../../scripts/envtest/go.ts";

const ROOT = join(import.meta.dir, "..", "..", "..");
const DEBS = join(ROOT, ".cache", "debs");
const GO = join("usr", "lib", "go-1.19");
const LIBRARIES = join("usr", "share", "gocode");
const GO_PACKAGES = ["golang-1.19-go", "golang-1.19-src"].map((name) => join(DEBS, name));
const UNPACKED_GO = GO_PACKAGES.every((folder) => existsSync(folder));

/** Where Go looks for libraries: each of Debian's packages that is unpacked here, and the system. */
function libraries(): string[] {
  const folders = existsSync(DEBS) ? readdirSync(DEBS).map((name) => join(DEBS, name, LIBRARIES)) : [];
  return [...folders, join("/", LIBRARIES)].filter((folder) => existsSync(folder));
}

/** What is missing to build the renderer, and how to get it. */
export function rendererMissing(): string | undefined {
  const sprig = join("src", "github.com", "Masterminds", "sprig");
  const hasSprig = libraries().some((folder) => existsSync(join(folder, sprig)));
  if (hasSprig && (UNPACKED_GO || existsSync(join("/", GO, "bin", "go")))) return undefined;
  return "Debian's Go and its library sprig; get them with: node scripts/setup.mjs cluster";
}

/** Compiles render.go. @returns the path of the command @throws Error with the compiler's words */
export async function buildRenderer(): Promise<string> {
  const folder = join(ROOT, ".cache", "chart");
  mkdirSync(join(folder, "tmp"), { recursive: true });
  let root = join("/", GO);
  if (UNPACKED_GO) {
    // The files of the two packages find each other only in one folder.
    rmSync(join(folder, "usr"), { recursive: true, force: true });
    await run(["cp", "-a", "--link", ...GO_PACKAGES.map((one) => join(one, "usr")), folder], {});
    root = join(folder, GO);
  }
  const target = join(folder, "render");
  const settings = { root, cache: join(folder, "cache"), temporary: join(folder, "tmp"), tools: "/usr/bin" };
  const environment = { ...goEnvironment(settings), GOPATH: libraries().join(":") };
  await run(["go", "build", "-o", target, join(import.meta.dir, "render.go")], environment);
  return target;
}

/** @param input for its stdin @returns what it printed @throws Error with its stderr */
export async function run(
  command: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  input = "",
): Promise<string> {
  const env = { ...process.env, ...environment };
  const path = Bun.which(command[0] ?? "", { PATH: env["PATH"] ?? "" }) ?? command[0] ?? "";
  const child = Bun.spawn([path, ...command.slice(1)], {
    env,
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code === 0) return stdout;
  throw new Error(`${command.join(" ")}: exit code ${code}: ${stderr.trim()}`);
}
