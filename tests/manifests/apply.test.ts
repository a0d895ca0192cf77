import { beforeAll, expect, test } from "bun:test";
import { cpSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { type KubeCluster, useKubernetes } from "../support/kube.ts";
import { describeWithKubectl, hasOldKustomize, Kubectl, kubectl } from "../support/kubectl.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { FLANNEL } from "./flannel.ts";
import {
  ClusterRole,
  ConfigMap,
  DaemonSet,
  MANIFESTS,
  objectsIn,
  PLAIN,
  plainDaemonSet,
  plainObjects,
} from "./objects.ts";

const KUSTOMIZE = join(MANIFESTS, "kustomize");
/** The overlay monitoring has objects of its own; see monitoring/kustomize.test.ts. */
const OVERLAYS = readdirSync(join(KUSTOMIZE, "overlays")).filter((name) => name !== "monitoring");
const DRY = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f"];
const Asked = v.object({
  metadata: v.object({ labels: v.optional(v.record(v.string(), v.string())) }),
  ...{ spec: v.optional(v.unknown()), data: v.optional(v.unknown()), rules: v.optional(v.unknown()) },
  ...{ roleRef: v.optional(v.unknown()), subjects: v.optional(v.unknown()) },
});
const Identity = v.object({ metadata: v.object({ uid: v.string() }) });

describeWithKubectl("the manifests at the real API server", () => {
  const folder = useTemporaryFolder();
  const kubernetes = useKubernetes();
  let cluster: KubeCluster;
  let admin: Kubectl;

  beforeAll(async () => {
    cluster = await kubernetes.start();
    admin = await Kubectl.of(cluster);
    cpSync(KUSTOMIZE, folder.path, { recursive: true });
    if (!(await hasOldKustomize())) return;
    for (const name of OVERLAYS) {
      const file = folder.at("overlays", name, "kustomization.yaml");
      const text = (await Bun.file(file).text())
        .replace("resources:", "bases:")
        .replace("patches:", "patchesStrategicMerge:")
        .replace("- path: ", "- ");
      await Bun.write(file, text);
    }
  });

  const built = (path: string) => kubectl(["kustomize", folder.at(path)]);
  const uid = async (kind: string, name: string) =>
    (await admin.get(Identity, kind, name, "--namespace=kube-flannel")).metadata.uid;
  /** All that is asked for in the objects of which there is more than a name. */
  const specs = () =>
    Promise.all([
      admin.get(Asked, "--namespace=kube-flannel", "daemonset", "kube-flannel-ds"),
      admin.get(Asked, "--namespace=kube-flannel", "configmap", "kube-flannel-cfg"),
      admin.get(Asked, "clusterrole", "flannel"),
      admin.get(Asked, "clusterrolebinding", "flannel"),
    ]);
  const daemonSet = () => admin.get(DaemonSet, "--namespace=kube-flannel", "daemonset", "kube-flannel-ds");
  const uids = async () =>
    Promise.all((await plainObjects()).map(async ({ kind, metadata }) => [kind, await uid(kind, metadata.name)]));

  test("are valid, all of them", async () => {
    const objects = await plainObjects();
    const lines = (await admin.run([...DRY, PLAIN])).trim().split("\n");
    expect(lines).toHaveLength(objects.length);
    for (const path of ["base", ...OVERLAYS.map((name) => `overlays/${name}`)]) {
      const told = (await admin.run([...DRY, "-"], await built(path))).trim().split("\n");
      expect(told).toHaveLength(objects.length);
    }
  });

  test("are checked there: a field that does not exist is refused", async () => {
    const text = (await Bun.file(PLAIN).text()).replaceAll("readOnlyRootFilesystem", "readOnlyFilesystem");
    await expect(admin.run([...DRY, "-"], text)).rejects.toThrow("readOnlyFilesystem");
  });

  test("kustomize's base is the plain manifest", async () => {
    expect(objectsIn(await built("base"))).toEqual(await plainObjects());
  });

  const netConfOf = async (path: string) => {
    const map = objectsIn(await built(path)).find(({ kind }) => kind === "ConfigMap");
    return JSON.parse(v.parse(ConfigMap, map).data["net-conf.json"] ?? "");
  };

  test("an overlay changes net-conf.json and nothing else", async () => {
    const base = await netConfOf("base");
    expect(base).toEqual({ Network: "10.244.0.0/16", EnableNFTables: false, Backend: { Type: "vxlan" } });
    expect(await netConfOf("overlays/nftables")).toEqual({ ...base, EnableNFTables: true });
    expect(await netConfOf("overlays/dual-stack")).toEqual({
      ...base,
      EnableIPv6: true,
      IPv6Network: "fd00:10:244::/56",
    });
    const rest = (text: string) => objectsIn(text).filter(({ kind }) => kind !== "ConfigMap");
    for (const name of OVERLAYS) expect(rest(await built(`overlays/${name}`))).toEqual(rest(await built("base")));
  });

  test.each([
    ["as the user of flannel's manifest does", ["apply"], ["apply"]],
    // Where one has no readiness probe and the other had, apply on the server's side leaves half of that, which is refused.
    ["on the server's side", ["apply", "--server-side", "--force-conflicts"], ["replace"]],
  ])("take the place of flannel's objects, and flannel's theirs, when they are applied %s", async (_, apply, back) => {
    const others = ["daemonset/kube-flannel-ds", "configmap/kube-flannel-cfg", "serviceaccount/flannel"];
    await admin.run(["delete", "--ignore-not-found", "clusterrole/flannel", "clusterrolebinding/flannel"]);
    await admin.run(["delete", "--ignore-not-found", "--namespace=kube-flannel", ...others]);
    await admin.run([...apply, "-f", "-"], FLANNEL);
    const [before, made] = [await uids(), await specs()];
    const { metadata } = await daemonSet();
    await admin.run([...apply, "-f", PLAIN]);
    expect(await uids()).toEqual(before);
    const { spec, metadata: now } = await daemonSet();
    expect(now.generation).toBe((metadata.generation ?? 0) + 1);
    const wanted = (await plainDaemonSet()).spec;
    expect(spec.selector).toEqual(wanted.selector);
    const parts = ({ template }: typeof spec) =>
      [...template.spec.initContainers, ...template.spec.containers].map(({ name, image, command, args, env }) => {
        return { name, image, command, args, env: env.map((one) => one.name).sort() };
      });
    expect(parts(spec)).toEqual(parts(wanted));
    const role = (await plainObjects()).find(({ kind }) => kind === "ClusterRole");
    expect((await admin.get(ClusterRole, "clusterrole", "flannel")).rules).toEqual(v.parse(ClusterRole, role).rules);
    // Applied again they change nothing.
    await admin.run([...apply, "-f", PLAIN]);
    const again = await daemonSet();
    expect(again.metadata.generation).toBe(now.generation);
    // And flannel's leave nothing of them.
    await admin.run([...back, "-f", "-"], FLANNEL);
    expect(await uids()).toEqual(before);
    expect(await specs()).toEqual(made);
  });
});
