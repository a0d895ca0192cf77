import { expect, test } from "bun:test";
import { chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import { HostRoot, oldLibc } from "../cli/install-cni/host-root.ts";
import { executable } from "../support/executable.ts";
import { Netns } from "../support/netns.ts";
import { startContainer } from "../support/pod.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { plainObjects } from "./objects.ts";

const Mount = v.object({ name: v.string(), mountPath: v.string(), readOnly: v.optional(v.boolean(), false) });
const Pod = v.object({
  initContainers: v.tuple([
    v.object({
      command: v.array(v.string()),
      args: v.array(v.string()),
      securityContext: v.object({
        readOnlyRootFilesystem: v.literal(true),
        allowPrivilegeEscalation: v.literal(false),
        capabilities: v.object({ drop: v.tuple([v.literal("ALL")]), add: v.array(v.string()) }),
      }),
      volumeMounts: v.array(Mount),
    }),
  ]),
  volumes: v.array(v.object({ name: v.string(), hostPath: v.optional(v.object({ path: v.string() })) })),
});
const Owner = v.object({ spec: v.object({ template: v.object({ spec: Pod }) }) });

/** Runs the DaemonSet's init container. @param host for each path of the host that it mounts, what is there */
async function initContainer(host: Readonly<Record<string, string>>) {
  const object = (await plainObjects()).find(({ kind }) => kind === "DaemonSet");
  const { initContainers, volumes } = v.parse(Owner, object).spec.template.spec;
  const [{ command, args, securityContext, volumeMounts }] = initContainers;
  const paths = volumeMounts.map(({ name, mountPath, readOnly }) => {
    const path = volumes.find((one) => one.name === name)?.hostPath?.path ?? "";
    return { path, mountPath, readOnly };
  });
  const mounts = paths.map(({ path, mountPath }) => [mountPath, host[path] ?? ""] as const);
  using ns = new Netns();
  using folder = new TemporaryFolder();
  const child = startContainer(ns, folder, {
    command: [...command, ...args],
    env: {},
    capabilities: securityContext.capabilities.add.map((name) => name.toLowerCase()),
    mounts: { "/opt/bin/flanneld": executable(), ...Object.fromEntries(mounts) },
  });
  const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
  return { code, stderr, paths };
}

describeInNamespaces("the DaemonSet's init container", () => {
  /** As some installers leave it: another user's. */
  const pluginFolder = () => {
    const folder = new TemporaryFolder();
    mkdirSync(folder.at("bin"));
    writeFileSync(folder.at("bin", "flannel"), "old", { mode: 0o755 });
    chownSync(folder.at("bin"), 65_534, 65_534);
    return folder;
  };

  test("sees the host's root read-only, and can write to nothing but the folder of plugins", async () => {
    using folder = pluginFolder();
    using root = new HostRoot();
    const { paths } = await initContainer({ "/": root.path, "/opt/cni/bin": folder.at("bin") });
    expect(paths).toEqual([
      { path: "/opt/cni/bin", mountPath: "/opt/cni/bin", readOnly: false },
      { path: "/", mountPath: "/host", readOnly: true },
    ]);
  });

  test("installs the plugin under its restrictions, with this machine's root as the host's", async () => {
    using folder = pluginFolder();
    const { code, stderr } = await initContainer({ "/": "/", "/opt/cni/bin": folder.at("bin") });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(readdirSync(folder.at("bin"))).toEqual(["flannel"]);
    expect(readFileSync(folder.at("bin", "flannel")).equals(readFileSync(executable()))).toBe(true);
  });

  test("refuses on a host whose C library is too old, and leaves the old plugin", async () => {
    using folder = pluginFolder();
    using root = new HostRoot({ libc: oldLibc("2.17", "2.12") });
    const { code, stderr } = await initContainer({ "/": root.path, "/opt/cni/bin": folder.at("bin") });
    expect(stderr).toBe(
      "tartan: the CNI plugin is not installed as /opt/cni/bin/flannel: " +
        "the host's glibc is 2.12, and the plugin needs 2.17\n",
    );
    expect(code).toBe(1);
    expect(readdirSync(folder.at("bin"))).toEqual(["flannel"]);
    expect(readFileSync(folder.at("bin", "flannel"), "utf8")).toBe("old");
  });
});
