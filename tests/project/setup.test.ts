import { describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { Clone, outcome } from "../support/clone.ts";
import { eventually } from "../support/wait.ts";

const ROOT = join(import.meta.dir, "..", "..");

/** A checkout where the set-up runs. */
class SetUpClone extends Clone {
  setUp(purpose: string) {
    return this.start(["node", this.at("scripts", "setup.mjs"), purpose]);
  }

  /** Unpacks a package, whether the system has it or not. */
  unpack(name: string) {
    const script = `import { unpackPackages } from "./scripts/debian.mjs";
      await unpackPackages([${JSON.stringify(name)}], ${JSON.stringify(this.path)})
        .catch((error) => { console.error(error.message); process.exitCode = 1; });`;
    return this.start(["node", "--input-type=module", "--eval", script]);
  }
}

describe("the set-up", () => {
  test("says nothing when nothing is missing", async () => {
    using clone = new SetUpClone();
    symlinkSync(join(ROOT, "node_modules"), clone.at("node_modules"));
    expect(await outcome(clone.setUp("build"))).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(existsSync(clone.at(".cache"))).toBe(false);
  });

  test("refuses a purpose that it does not know", async () => {
    using clone = new SetUpClone();
    const stderr = "setup: usage: node scripts/setup.mjs build|lab|test|cluster|envtest\n";
    expect(await outcome(clone.setUp("play"))).toEqual({ code: 1, stdout: "", stderr });
  });

  test("installs the npm packages once, though two ask for them", async () => {
    using clone = new SetUpClone();
    const install = `ln -s ${join(ROOT, "node_modules")} node_modules`;
    await clone.replace("npm", `echo "$@" >> calls; while [ ! -e go-on ]; do sleep 0.05; done; ${install}`);
    const told = ["", ""];
    const codes = told.map(async (_, index) => {
      const child = clone.setUp("build");
      const decoder = new TextDecoder();
      for await (const chunk of child.stderr) {
        told[index] += decoder.decode(chunk, { stream: true });
        // The second one has come while the first one is at it.
        if (told[index]?.includes("waiting")) await Bun.write(clone.at("go-on"), "");
      }
      return child.exited;
    });
    expect(await Promise.all(codes)).toEqual([0, 0]);
    expect(await Bun.file(clone.at("calls")).text()).toMatch(/^ci --ignore-scripts [^\n]*\n$/);
    expect(told.toSorted()).toEqual([
      "setup: installing the npm packages that package-lock.json names\n",
      "setup: waiting for another set-up of this checkout to end\n",
    ]);
  });

  test("takes packages of another version for missing ones", async () => {
    using clone = new SetUpClone();
    cpSync(join(ROOT, "node_modules", ".package-lock.json"), clone.at("node_modules", ".package-lock.json"));
    const lock = await Bun.file(clone.at("package-lock.json")).text();
    await Bun.write(clone.at("package-lock.json"), lock.replace(/"integrity": "sha512-./, '"integrity": "sha512-_'));
    await clone.replace("npm", "touch called; exit 1");
    await outcome(clone.setUp("build"));
    expect(existsSync(clone.at("called"))).toBe(true);
  });

  test.each([
    ["npm error code ECODE\nnpm error the disk is full", "the disk is full"],
    ["npm error code EAI_AGAIN", "its registry can't be reached; check the network, then run this again"],
    ["", "it does not say why; run 'npm ci' to see"],
  ])("tells npm's failure in one line: %p", async (output, reason) => {
    using clone = new SetUpClone();
    await clone.replace("npm", `printf '%s\\n' '${output}' >&2; exit 1`);
    const { code, stderr } = await outcome(clone.setUp("build"));
    expect({ code, last: stderr.trimEnd().split("\n").at(-1) }).toEqual({
      code: 1,
      last: `setup: npm can't install the packages: ${reason}`,
    });
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("ends at %s with the command that it runs", async (signal, code) => {
    using clone = new SetUpClone();
    await clone.replace("npm", "echo $$ > pid; exec sleep 1000");
    const child = clone.setUp("build");
    const pid = await eventually(async () => (await Bun.file(clone.at("pid")).text()).trim(), {
      within: 20_000,
      what: "npm runs",
    });
    child.kill(signal);
    expect((await outcome(child)).code).toBe(code);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });
});

describe.skipIf(!existsSync("/usr/bin/apt-get"))("a package that is unpacked into the checkout", () => {
  const STEP = "setup: unpacking etcd-server from Debian's packages into .cache/debs\n";
  const DOWNLOAD = "touch etcd-server_1_all.deb";
  /** In place of dpkg: `dpkg -x ARCHIVE FOLDER`. */
  const DPKG = 'mkdir -p "$3/usr/bin" && touch "$3/usr/bin/etcd"';

  test("is there afterwards, and nothing beside it", async () => {
    using clone = new SetUpClone();
    mkdirSync(clone.at(".cache", "debs", ".unpacking-containerd", "content"), { recursive: true });
    await clone.replace("apt-get", DOWNLOAD);
    await clone.replace("dpkg", DPKG);
    expect(await outcome(clone.unpack("etcd-server"))).toEqual({ code: 0, stdout: "", stderr: STEP });
    expect(existsSync(clone.at(".cache", "debs", "etcd-server", "usr", "bin", "etcd"))).toBe(true);
    expect(readdirSync(clone.at(".cache", "debs"))).toEqual(["etcd-server"]);
  });

  test("is looked for again once the package lists are new", async () => {
    using clone = new SetUpClone();
    const missing = 'echo "E: Unable to locate package etcd-server"; exit 100';
    const lists = clone.at("lists");
    await clone.replace(
      "apt-get",
      `[ "$1" = update ] && exec touch ${lists}; [ -e ${lists} ] || { ${missing}; }; ${DOWNLOAD}`,
    );
    await clone.replace("dpkg", DPKG);
    const stderr = `${STEP}setup: refreshing Debian's package lists\n`;
    expect(await outcome(clone.unpack("etcd-server"))).toEqual({ code: 0, stdout: "", stderr });
  });

  test("waits for whoever holds the lock of Debian's packages", async () => {
    using clone = new SetUpClone();
    const held =
      'echo "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (aptitude)"; exit 100';
    const seen = clone.at("seen");
    await clone.replace("apt-get", `[ -e ${seen} ] || { touch ${seen}; ${held}; }; ${DOWNLOAD}`);
    await clone.replace("dpkg", DPKG);
    const stderr = `${STEP}setup: waiting for process 7 (aptitude), which holds the lock of Debian's packages\n`;
    expect(await outcome(clone.unpack("etcd-server"))).toEqual({ code: 0, stdout: "", stderr });
  });

  test.each([
    [
      "apt-get",
      "echo 'E: Failed to fetch x  Temporary failure resolving y'; exit 100",
      "Debian's package servers can't be reached",
    ],
    ["apt-get", "echo 'E: You have no space'; exit 100", "apt-get says: You have no space"],
    ["dpkg", "mkdir content; echo 'dpkg-deb: error: it is no archive'; exit 2", "it is no archive"],
  ])("that can't be had leaves nothing: %s: %s", async (command, script, reason) => {
    using clone = new SetUpClone();
    await clone.replace("apt-get", DOWNLOAD);
    await clone.replace("dpkg", DPKG);
    await clone.replace(command, script);
    const { code, stderr } = await outcome(clone.unpack("etcd-server"));
    expect({ code, lines: stderr.trimEnd().split("\n").length }).toEqual({ code: 1, lines: 2 });
    expect(stderr).toContain(`missing: etcd (Debian: etcd-server); ${reason}: `);
    expect(readdirSync(clone.at(".cache", "debs"))).toEqual([]);
  });
});
