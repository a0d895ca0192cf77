import { describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { executable } from "../support/executable.ts";
import { TemporaryFolder } from "../support/temp.ts";

const ROOT = join(import.meta.dir, "..", "..");

async function run(command: readonly string[], { cwd = ROOT, env = {} }: { cwd?: string; env?: object } = {}) {
  const child = Bun.spawn([...command], { cwd, env: { ...process.env, ...env }, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

describe("dist/tartan", () => {
  test("obeys no .env, bunfig.toml or package.json of the folder that it is started from", async () => {
    using folder = new TemporaryFolder();
    await Bun.write(folder.at(".env"), "FLANNELD_HEALTHZ_PORT=wrong\n");
    await Bun.write(folder.at("bunfig.toml"), 'preload = ["./preloaded.ts"]\n');
    await Bun.write(folder.at("preloaded.ts"), "throw new Error('preloaded');\n");
    await Bun.write(folder.at("package.json"), "{ broken");
    // Refused by itself, but only after the environment is: where nothing was read, the message is about the flag.
    const start = (env: object) => run([executable(), "--debug-addr=wrong"], { cwd: folder.path, env });
    const { code, stderr } = await start({});
    expect(code).toBe(2);
    expect(stderr).toMatch(/^tartan: --debug-addr [^\n]*\n$/);
    expect((await start({ FLANNELD_HEALTHZ_PORT: "wrong" })).stderr).toContain("FLANNELD_HEALTHZ_PORT");
  });

  test("knows its version", async () => {
    const { version } = await Bun.file(join(ROOT, "package.json")).json();
    const { stdout } = await run([executable(), "--version"]);
    expect(stdout).toStartWith(version);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+(\+[0-9a-f]+(\.dirty)?)?\n$/);
  });
});

describe("build.ts", () => {
  /** A project with this one's build and a program of its own. */
  async function project(folder: TemporaryFolder) {
    for (const name of ["build.ts", "scripts/compile.ts", "package.json", "package-lock.json", "tsconfig.json"]) {
      cpSync(join(ROOT, name), folder.at(name));
    }
    symlinkSync(join(ROOT, "node_modules"), folder.at("node_modules"));
    cpSync(join(ROOT, "scripts", "build"), folder.at("scripts", "build"), { recursive: true });
    mkdirSync(folder.at("src"));
    const write = (source: string) => Bun.write(folder.at("src", "main.ts"), source);
    const build = (...options: string[]) => run([process.execPath, "build.ts", ...options], { cwd: folder.path });
    await write('console.log("first");');
    return { write, build, program: folder.at("dist", "tartan") };
  }

  test("builds again only what has changed, also while the old executable runs", async () => {
    using folder = new TemporaryFolder();
    const { write, build, program } = await project(folder);
    await write('console.log("first"); setInterval(() => {}, 1000);');
    expect((await build()).stdout).toMatch(/^dist\/tartan \S+: [\d.]+ MiB in [\d.]+ s\n$/);
    const old = Bun.spawn([program], { stdout: "pipe" });
    try {
      for await (const chunk of old.stdout) {
        expect(new TextDecoder().decode(chunk)).toBe("first\n");
        break;
      }
      expect((await build()).stdout).toEndWith(": up to date\n");
      await write('console.log("second");');
      expect(await build("--quiet")).toEqual({ code: 0, stdout: "", stderr: "" });
      expect((await run([program])).stdout).toBe("second\n");
      expect(old.exitCode).toBeNull();
    } finally {
      old.kill("SIGKILL");
    }
  });

  test("leaves the old executable where it was if the source is wrong", async () => {
    using folder = new TemporaryFolder();
    const { write, build, program } = await project(folder);
    expect((await build()).code).toBe(0);
    await write("const = 1;");
    const { code, stderr } = await build("--quiet");
    expect(code).toBe(1);
    expect(stderr).toContain("main.ts:1");
    expect((await run([program])).stdout).toBe("first\n");
    expect(readdirSync(folder.at("dist")).sort()).toEqual([".tartan.json", "tartan"]);
    await write('console.log("first");');
    expect((await build()).stdout).toEndWith(": up to date\n");
  });

  test("gives the same executable in another folder", async () => {
    using one = new TemporaryFolder();
    using other = new TemporaryFolder();
    const [first, second] = [await project(one), await project(other)];
    expect([(await first.build()).code, (await second.build()).code]).toEqual([0, 0]);
    const digests = [first, second].map(async ({ program }) => Bun.hash(await Bun.file(program).bytes()));
    expect(await digests[0]).toBe(await digests[1]);
  });

  test("removes what a killed build left behind", async () => {
    using folder = new TemporaryFolder();
    const { build } = await project(folder);
    const ended = Bun.spawn(["true"]);
    await ended.exited;
    await Bun.write(folder.at("dist", `.tartan-${ended.pid}`), "half an executable");
    await Bun.write(folder.at("dist", `.tartan-${process.pid}`), "that of a build that goes on");
    expect((await build()).code).toBe(0);
    expect(existsSync(folder.at("dist", `.tartan-${ended.pid}`))).toBe(false);
    expect(existsSync(folder.at("dist", `.tartan-${process.pid}`))).toBe(true);
  });
});
