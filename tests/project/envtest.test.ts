import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { deriveSourceArchives } from "../../scripts/envtest/apt-sources.ts";
import { reasonOf } from "../../scripts/envtest/commands.ts";
import { linkerFlags, openapiPackages, patchesOf, upstreamVersion } from "../../scripts/envtest/source-package.ts";
import { Clone, outcome } from "../support/clone.ts";
import { eventually } from "../support/wait.ts";

const ROOT = join(import.meta.dir, "..", "..");
const NAMES = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

describe("sources of Debian 12's source packages", () => {
  const derive = (form: "list" | "sources", text: string) =>
    deriveSourceArchives({ [`/etc/apt/debian.${form}`]: text });

  test.each([
    ["deb http://deb.debian.org/debian bookworm main", "deb-src http://deb.debian.org/debian bookworm main"],
    ["  deb\thttp://m/debian  stable-updates  contrib main # near", "deb-src http://m/debian stable-updates main"],
    [
      "deb [ arch=amd64 signed-by=/k.gpg ] https://m/d bookworm-security main",
      "deb-src [ arch=amd64 signed-by=/k.gpg ] https://m/d bookworm-security main",
    ],
    ["deb-src http://m/d bookworm main non-free", "deb-src http://m/d bookworm main"],
    ["# deb http://m/d bookworm main", ""],
    ["deb cdrom:[Debian 12]/ bookworm main", ""],
    ["deb http://m/d bookworm contrib", ""],
    ["deb http://m/d bookworm-backports main", ""],
    ["deb http://m/d trixie main", ""],
    ["deb https://download.docker.com/linux/debian bookworm stable", ""],
    ["deb http://m/d ./", ""],
    ["nonsense", ""],
  ])("in one line: %p", (line, wanted) => {
    expect(derive("list", `${line}\n`)).toEqual({ list: wanted === "" ? "" : `${wanted}\n`, sources: "" });
  });

  test.each([
    [
      "several suites",
      "Types: deb\n# a comment\nURIs: http://m/debian\nSuites: bookworm bookworm-updates bookworm-backports\nComponents: main contrib\nSigned-By: /k.gpg\n",
      "Types: deb-src\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n",
    ],
    [
      "fields in any case and over several lines",
      "types: deb deb-src\nURIs:\n http://a/debian\n cdrom:[x]/\nsuites: oldstable\ncomponents:\n contrib\n main\nEnabled: yes\n",
      "Types: deb-src\nURIs: http://a/debian\nSuites: oldstable\nComponents: main\n",
    ],
    [
      "a key within",
      "Types: deb\nURIs: http://m/d\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n x: y\n",
      "Types: deb-src\nURIs: http://m/d\nSuites: bookworm\nComponents: main\nSigned-By: \n -----BEGIN\n .\n x: y\n",
    ],
    ["one that is off", "Types: deb\nURIs: http://m/d\nSuites: bookworm\nComponents: main\nEnabled: no\n", ""],
    ["another vendor's", "Types: deb\nURIs: http://m/d\nSuites: nodistro\nComponents: main\n", ""],
    ["a flat one", "Types: deb\nURIs: http://m/d\nSuites: ./\n", ""],
  ])("in a stanza: %s", (_, stanza, wanted) => {
    const normal = (text: string) => text.toLowerCase().split("\n");
    expect(normal(derive("sources", stanza).sources)).toEqual(normal(wanted));
  });

  test("each once, stanzas apart, other files left out", () => {
    const stanza = (suite: string) => `Types: deb\nURIs: http://m/d\nSuites: ${suite}\nComponents: main\n`;
    const line = "deb http://m/d bookworm main\n";
    const { list, sources } = deriveSourceArchives({
      "/etc/apt/sources.list": line + line.replace("deb", "deb-src"),
      "/etc/apt/sources.list.d/a.list": line,
      "/etc/apt/sources.list.d/a.list.off": "deb http://off/d bookworm main\n",
      "/etc/apt/sources.list.d/a.sources": `\n${stanza("bookworm")}\n \n${stanza("stable")}\n\n${stanza("bookworm")}`,
    });
    expect(list).toBe("deb-src http://m/d bookworm main\n");
    expect(sources.split("\n\n").map((part) => /suites: (\S+)/i.exec(part)?.[1])).toEqual(["bookworm", "stable"]);
  });
});

test.each([
  ["kubernetes_1.20.5+really1.20.2-1.1+deb12u1.dsc", "1.20.2"],
  ["kubernetes_1.32.3+ds-2.dsc", "1.32.3"],
  ["kubernetes_1.20.2.dsc", "1.20.2"],
  ["etcd_3.4.23-4.dsc", undefined],
])("the version of Kubernetes in %p", (name, version) => {
  expect(upstreamVersion(name)).toBe(version);
});

test("the patches of a series", () => {
  expect(patchesOf("# first\na.patch\n\n  b.patch -p1 # why\n")).toEqual(["a.patch", "b.patch"]);
});

test("the packages with OpenAPI definitions", () => {
  const files = [
    "staging/src/k8s.io/api/core/v1/doc.go",
    "pkg/apis/abac/v0/types.go",
    "staging/src/k8s.io/api/core/v1/types.go",
    "staging/src/k8s.io/sample-apiserver/pkg/apis/wardle/v1/doc.go",
    "staging/src/k8s.io/code-generator/_examples/doc.go",
  ];
  const packages = ["k8s.io/kubernetes/pkg/apis/abac/v0", "k8s.io/kubernetes/vendor/k8s.io/api/core/v1"];
  expect(openapiPackages(files)).toEqual(packages);
});

test("the linker writes the version into the vendored package", () => {
  const place = "k8s.io/kubernetes/vendor/k8s.io/component-base/version";
  expect(linkerFlags("1.20.2")).toStartWith(`-s -w -X ${place}.gitVersion=v1.20.2 -X ${place}.gitMajor=1 `);
});

test.each([
  [
    "Err:1 x\nW: Failed to fetch http://m  Could not resolve 'm'\nE: Unable to find a source package",
    "W: Failed to fetch http://m  Could not resolve 'm'",
  ],
  ["Reading\nE: Unable to find a source package\n", "E: Unable to find a source package"],
  ["# k8s.io/x\npkg/x.go:3:1: undefined: y\nnote: more\n", "pkg/x.go:3:1: undefined: y"],
  ["go build x: compile: signal: killed\nmore\n", "go build x: compile: signal: killed"],
  ["one\ntwo\n\n", "two"],
  ["\n", undefined],
])("the reason in %p", (output, reason) => {
  expect(reasonOf(output)).toBe(reason);
});

const FETCH = "envtest: fetch Debian's source package kubernetes … done\n";
const UNPACK = "envtest: unpack Kubernetes 1.20.2 and generate its OpenAPI definitions … done\n";
const compiled = (name: string) => `envtest: compile ${name} … done\n`;

/** How a build ended, and what it printed, without the times. */
async function ending(child: ReturnType<Clone["start"]>) {
  const { stderr, ...rest } = await outcome(child);
  return { ...rest, stderr: stderr.replace(/… (?:\d+ min )?\d+ s\n/g, "… done\n") };
}

/** A checkout with a small source package, and with commands that stand for apt's and Go's. */
class BuildClone extends Clone {
  static async make(): Promise<BuildClone> {
    const clone = new BuildClone();
    symlinkSync(join(ROOT, "node_modules"), clone.at("node_modules"));
    await clone.#makeSource();
    await Bun.write(clone.at("apt", "sources.list"), "deb http://m/debian bookworm main\n");
    await clone.replace(
      "apt-config",
      `echo "list='${clone.at("apt", "sources.list")}'"; echo "parts='${clone.at("apt", "none")}'"`,
    );
    await clone.replace(
      "apt-get",
      `echo "$1" >> ${clone.at("apt-calls")}; [ "$1" = update ] || cp ${clone.at("archive")}/* .`,
    );
    await clone.replace("patch", `for name; do :; done; basename "$name" >> ${clone.at("patched")}`);
    mkdirSync(clone.at(".cache", "debs", "etcd-server"), { recursive: true });
    mkdirSync(clone.at(".cache", "debs", "golang-1.19-src", "usr", "share", "go-1.19"), { recursive: true });
    await clone.replaceGo("Kubernetes v1.20.2");
    return clone;
  }

  async #makeSource(): Promise<void> {
    await Bun.write(
      this.at("made", "kubernetes-1.20.2", "pkg", "a", "doc.go"),
      "// +k8s:openapi-gen=true\npackage a\n",
    );
    for (const folder of ["cmd", "plugin", "staging/src"]) {
      mkdirSync(this.at("made", "kubernetes-1.20.2", folder), { recursive: true });
    }
    await Bun.write(this.at("made", "debian", "patches", "series"), "first.patch\nsecond.patch\n");
    mkdirSync(this.at("archive"));
    const name = this.at("archive", "kubernetes_1.20.5+really1.20.2");
    await Bun.write(`${name}-1.1.dsc`, "");
    for (const [archive, content] of [
      ["orig.tar.gz", "kubernetes-1.20.2"],
      ["debian.tar.xz", "debian"],
    ] as const) {
      const path = content === "debian" ? `${name}-1.1.${archive}` : `${name}.${archive}`;
      expect(await this.start(["tar", "-C", this.at("made"), "-caf", path, content]).exited).toBe(0);
    }
  }

  /**
   * Puts a Go in place that makes commands which say `version`.
   * @param hook shell commands that run before; `$name` is what is built
   */
  async replaceGo(version: string, hook = ""): Promise<void> {
    await this.command(
      ".cache/debs/golang-1.19-go/usr/lib/go-1.19/bin/go",
      `while [ $# -gt 1 ]; do [ "$1" = -o ] && target=$2; shift; done; name=$(basename "$1"); echo half > "$target"
      ${hook}
      printf '#!/bin/sh\\necho ${version}; [ $# = 1 ] || echo "$@" > ${this.at("generated")}\\n' > "$target"; chmod 755 "$target"`,
    );
  }

  build(...args: string[]) {
    return this.start([process.execPath, this.at("scripts", "envtest.ts"), ...args]);
  }

  get built(): string[] {
    return readdirSync(this.at(".cache", "envtest")).sort();
  }
}

describe("npm run envtest", () => {
  test("does nothing but say so when all is there", async () => {
    using clone = new Clone();
    for (const name of NAMES) await Bun.write(clone.at(".cache", "envtest", name), "");
    await clone.replace("node", "touch called");
    const stderr = `envtest: .cache/envtest has ${NAMES.join(", ")}: nothing to do\n`;
    expect(await outcome(clone.start([process.execPath, "scripts/envtest.ts"]))).toEqual({
      code: 0,
      stdout: "",
      stderr,
    });
    expect(existsSync(clone.at("called"))).toBe(false);
    expect(readdirSync(clone.at(".cache"))).toEqual(["envtest"]);
  });

  test.each([
    [["--help"], 0, /^usage: npm run envtest /, /^$/],
    [["kube-foo"], 2, /^$/, /^envtest: there is no 'kube-foo' to build, but kube-apiserver, .*--help' tells more\n$/],
    [["--force"], 2, /^$/, /^envtest: Unknown option '--force'; 'npm run envtest -- --help' tells more\n$/],
  ])("reads its arguments: %p", async (args, code, stdout, stderr) => {
    using clone = new Clone();
    const result = await outcome(clone.start([process.execPath, "scripts/envtest.ts", ...args]));
    expect(result).toEqual({ code, stdout: expect.stringMatching(stdout), stderr: expect.stringMatching(stderr) });
  });

  test("builds all that is missing, and leaves nothing else behind", async () => {
    using clone = await BuildClone.make();
    await Bun.write(clone.at(".cache", "envtest", "kubelet"), "present");
    const steps = [FETCH, UNPACK, ...NAMES.filter((name) => name !== "kubelet").map(compiled)].join("");
    const stderr = `${steps}envtest: .cache/envtest has ${NAMES.join(", ")}\n`;
    expect(await ending(clone.build())).toEqual({ code: 0, stdout: "", stderr });
    expect(clone.built).toEqual([...NAMES].sort());
    expect(await Bun.file(clone.at(".cache", "envtest", "kubelet")).text()).toBe("present");
    expect(await Bun.file(clone.at("patched")).text()).toBe("first.patch\nsecond.patch\n");
    expect(await Bun.file(clone.at("generated")).text()).toContain(" -i k8s.io/kubernetes/pkg/a -p ");
    expect(readdirSync(clone.at(".cache")).sort()).toEqual(["debs", "envtest", "envtest.lock"]);
    expect(readdirSync(clone.at(".cache", "debs"))).toEqual(["etcd-server"]);
  });

  test("goes on after the last whole step when one has failed", async () => {
    using clone = await BuildClone.make();
    await clone.replaceGo("Kubernetes v1.20.2", `[ $name != kube-proxy ] || { echo "x.go:1: no such thing"; exit 1; }`);
    const { code, stderr } = await ending(clone.build("kube-proxy", "kubelet"));
    const reason = "envtest: can't compile kube-proxy: go: x.go:1: no such thing";
    const next = "(log: .cache/envtest-build/log); run this again, and it goes on from here";
    const steps = `${FETCH}${UNPACK}${compiled("kubelet")}envtest: compile kube-proxy … \n`;
    expect({ code, stderr }).toEqual({ code: 1, stderr: `${steps}${reason} ${next}\n` });
    expect(clone.built).toEqual(["kubelet"]);
    expect(await Bun.file(clone.at(".cache", "envtest-build", "log")).text()).toContain("x.go:1: no such thing");

    await clone.replaceGo("Kubernetes v1.20.2");
    const again = `${compiled("kube-proxy")}envtest: .cache/envtest has kubelet, kube-proxy\n`;
    expect(await ending(clone.build("kube-proxy", "kubelet", "--keep"))).toEqual({
      code: 0,
      stdout: "",
      stderr: again,
    });
    expect(await Bun.file(clone.at("apt-calls")).text()).toBe("update\nsource\n");
    expect(existsSync(clone.at(".cache", "envtest-build", "gopath"))).toBe(true);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("ends at %s with the command that it runs, and leaves no half of a server", async (signal, code) => {
    using clone = await BuildClone.make();
    const hook = `[ $name != kubelet ] || { echo $$ > ${clone.at("pid")}; exec sleep 1000; }`;
    await clone.replaceGo("Kubernetes v1.20.2", hook);
    const child = clone.build("kubelet");
    const pid = await eventually(async () => (await Bun.file(clone.at("pid")).text()).trim(), {
      within: 20_000,
      what: "Go runs",
    });
    child.kill(signal);
    expect(await ending(child)).toEqual({
      code,
      stdout: "",
      stderr: `${FETCH}${UNPACK}envtest: compile kubelet … \n`,
    });
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(clone.built).toEqual([]);
  });

  test("takes no server of another version", async () => {
    using clone = await BuildClone.make();
    await clone.replaceGo("Kubernetes v0.0.0");
    const { code, stderr } = await ending(clone.build("kubelet"));
    expect(code).toBe(1);
    expect(stderr).toContain("can't compile kubelet: its --version says 'Kubernetes v0.0.0', not v1.20.2 (log: ");
    expect(clone.built).toEqual([]);
  });

  test("says why the source package can't be had", async () => {
    using clone = await BuildClone.make();
    const unreachable = "W: Failed to fetch http://m/debian/InRelease  Temporary failure resolving 'm'";
    await clone.replace("apt-get", `[ $1 = update ] && { echo "${unreachable}"; exit 0; }; echo 'E: none'; exit 100`);
    const { code, stderr } = await ending(clone.build());
    const what = `envtest: can't fetch Debian's source package kubernetes: apt-get says: ${unreachable}`;
    const next = "(log: .cache/envtest-build/log); check the network and apt's sources, then run this again\n";
    expect({ code, last: stderr.split(" … \n").at(-1) }).toEqual({ code: 1, last: `${what} ${next}` });
  });

  test("says that apt knows no archive of Debian 12", async () => {
    using clone = await BuildClone.make();
    await Bun.write(clone.at("apt", "sources.list"), "deb http://m/debian trixie main\n");
    const { code, stderr } = await ending(clone.build());
    expect(code).toBe(1);
    expect(stderr).toContain("apt's sources name no archive of Debian 12 (bookworm) with the component main");
    expect(stderr).toContain("'deb http://deb.debian.org/debian bookworm main'");
  });

  test("builds once, though two ask for it", async () => {
    using clone = await BuildClone.make();
    await clone.replaceGo("Kubernetes v1.20.2", "sleep 0.2");
    const results = await Promise.all([clone.build("kubelet"), clone.build("kubelet")].map(ending));
    expect(results.map(({ code }) => code)).toEqual([0, 0]);
    const waited = results.find(({ stderr }) => !stderr.includes("compile"))?.stderr;
    expect(waited).toEndWith("envtest: .cache/envtest has kubelet: nothing to do\n");
    expect(await Bun.file(clone.at("apt-calls")).text()).toBe("update\nsource\n");
  });
});
