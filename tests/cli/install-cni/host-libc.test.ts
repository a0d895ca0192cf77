import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  findHostLibc,
  glibcVersion,
  libraryProblem,
  loaderCommand,
  neededGlibc,
} from "../../../src/cli/install-cni/host-libc.ts";
import { hostPath } from "../../../src/cli/install-cni/host-path.ts";
import { useTemporaryFolder } from "../../support/temp.ts";
import { GLIBC, HostRoot, LIBC, oldLibc } from "./host-root.ts";

describe("a path of the host", () => {
  const root = useTemporaryFolder();
  mkdirSync(root.at("usr", "lib"), { recursive: true });
  const links = {
    lib: "usr/lib",
    lib64: "/usr/lib",
    usr64: "../../../usr/lib",
    out: "/etc/passwd",
    loop: "/loop",
    deep: "/lib/../lib",
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, root.at(name));

  test.each([
    ["/usr/lib", "usr/lib"],
    ["/lib", "usr/lib"],
    ["/lib64", "usr/lib"],
    ["/usr64/", "usr/lib"],
    ["/deep", "usr/lib"],
    ["/../../lib64/.", "usr/lib"],
  ])("%s is found by the host's links", (path, expected) => {
    expect(hostPath(root.path, path)).toBe(root.at(expected));
  });

  test.each(["/out", "/loop", "/absent", "/usr/lib/absent"])("%s is not there", (path) => {
    expect(hostPath(root.path, path)).toBeUndefined();
  });

  test("the root of this machine is one, too; and a link to a root", () => {
    expect(hostPath("/", "/usr")).toBe("/usr");
    const link = root.at("to-root");
    symlinkSync(root.path, link);
    expect(hostPath(link, "/lib64")).toBe(join(link, "usr/lib"));
  });
});

describe("the host's C library", () => {
  test("is looked for beside its loader first", () => {
    using root = new HostRoot();
    const host = findHostLibc(root.path);
    expect(host).toMatchObject({ root: root.path, loader: root.loader });
    expect(host.folders[0]).toBe(dirname(root.loader));
    for (const folder of host.folders) expect(folder).toStartWith(`${root.path}/`);
  });

  test("is missing where there is no loader of glibc", () => {
    using root = new HostRoot();
    const other = process.arch === "arm64" ? "x64" : "arm64";
    expect(() => findHostLibc(root.path, other)).toThrow(
      /ld-linux-.* is missing: the C library of the host is not glibc/,
    );
    expect(() => findHostLibc(root.at("absent"))).toThrow("is not the root of the host");
    expect(() => findHostLibc(root.path, "riscv64")).toThrow("not made for riscv64");
  });

  test("the version is read from the library itself", () => {
    expect(GLIBC).toMatch(/^2\.\d+$/);
    expect(glibcVersion(readFileSync(LIBC))).toBe(GLIBC);
    expect(glibcVersion(oldLibc("2.17", "2.12"))).toBe("2.12");
    expect(glibcVersion(readFileSync("/bin/sh"))).toBeUndefined();
  });
});

describe("what the loader says of the plugin", () => {
  const host = { root: "/host", loader: "/host/lib64/ld.so", folders: ["/host/lib64", "/host/lib"] };
  const list = (...lines: string[]) => lines.map((line) => `\t${line}\n`).join("");
  const good = list(
    "linux-vdso.so.1 (0x00007ffe3b9d1000)",
    "libc.so.6 => /host/lib64/libc.so.6 (0x00007f1c00000000)",
    "/lib64/ld-linux-x86-64.so.2 => /host/lib64/ld.so (0x00007f1c10000000)",
    "libm.so.6 => /host/lib/libm.so.6 (0x00007f1c20000000)",
  );
  const problem = (stdout: string, stderr = "") =>
    libraryProblem(host, { stdout, stderr }, (path) => (path === "/host/lib64/libc.so.6" ? "2.31" : undefined));

  test("nothing speaks against it", () => {
    expect(problem(good)).toBeUndefined();
  });

  test("the newest version that is missing is told", () => {
    const lacks = (version: string) =>
      `/p: /host/lib64/libc.so.6: version \`GLIBC_${version}' not found (required by /p)\n`;
    expect(neededGlibc(lacks("2.9") + lacks("2.38") + lacks("2.33.1"))).toBe("2.38");
    expect(problem(good, lacks("2.38"))).toBe("the host's glibc is 2.31, and the plugin needs 2.38");
    expect(problem("", lacks("2.38"))).toBe("the host's glibc is too old, and the plugin needs 2.38");
  });

  test.each([
    ["the image's", "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f1c20000000)"],
    ["one of a root with a similar name", "libm.so.6 => /hosts/lib/libm.so.6 (0x00007f1c20000000)"],
    ["none", "libm.so.6 => not found"],
  ])("a library that is %s is missing on the host", (_, line) => {
    expect(problem(good.replace(/libm.*/, line))).toBe("the host lacks libm.so.6, which the plugin needs");
  });

  test("a loader that lists nothing is quoted", () => {
    expect(problem("", "/p: cannot open shared object file\n")).toContain("/p: cannot open shared object file");
    expect(problem("")).toContain("it says nothing");
  });

  test("it is asked with the host's folders alone", () => {
    const start = ["/host/lib64/ld.so", "--inhibit-cache", "--library-path", "/host/lib64:/host/lib"];
    expect(loaderCommand(host, "/p")).toEqual([...start, "/p"]);
    expect(loaderCommand(host, "/p", "--list")).toEqual([...start, "--list", "/p"]);
  });
});
