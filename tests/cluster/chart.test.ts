import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { ConfigMap, DaemonSet, type KubeObject, MANIFESTS, objectsIn, plainObjects } from "../manifests/objects.ts";
import { useKubernetes } from "../support/kube.ts";
import { describeWithKubectl, Kubectl } from "../support/kubectl.ts";
import { buildRenderer, rendererMissing, run } from "./chart/renderer.ts";

const CHART = join(MANIFESTS, "chart", "tartan");
const missing = rendererMissing();
if (missing !== undefined) console.error(`skipped: the chart: needs ${missing}`);

const Chart = v.object({ apiVersion: v.literal("v2"), name: v.string(), version: v.string(), appVersion: v.string() });
const ofKind = <T>(schema: v.GenericSchema<unknown, T>, objects: readonly KubeObject[], kind: string): T =>
  v.parse(
    schema,
    objects.find((one) => one.kind === kind),
  );

describe.skipIf(missing !== undefined)("the chart, rendered by Go's text/template with sprig", () => {
  let renderer = "";
  beforeAll(async () => {
    renderer = await buildRenderer();
  }, 180_000);

  const text = (values: object, namespace = "kube-flannel") =>
    run([renderer, CHART, namespace], {}, JSON.stringify(values));
  const objects = async (values: object, namespace?: string) => objectsIn(await text(values, namespace));
  const netConf = async (values: object): Promise<unknown> =>
    JSON.parse(ofKind(ConfigMap, await objects(values), "ConfigMap").data["net-conf.json"] ?? "");
  const daemonSet = async (flannel: object) => ofKind(DaemonSet, await objects({ flannel }), "DaemonSet").spec;

  test("with its own values equals the plain manifest, which has the namespace beside", async () => {
    const plain = (await plainObjects()).filter(({ kind }) => kind !== "Namespace");
    expect(await objects({})).toEqual(plain);
  });

  test("is one that Helm takes", async () => {
    const { name, version, appVersion } = v.parse(
      Chart,
      Bun.YAML.parse(await Bun.file(join(CHART, "Chart.yaml")).text()),
    );
    expect({ name, appVersion }).toEqual({ name: "tartan", appVersion: `v${version}` });
  });

  const network = { Network: "10.244.0.0/16" };
  const rules = { EnableNFTables: false };
  test.each<[string, object, object]>([
    ["podCidr", { podCidr: "10.1.0.0/16" }, { Network: "10.1.0.0/16", ...rules, Backend: { Type: "vxlan" } }],
    [
      "both families",
      { podCidrv6: "fd00:1::/56" },
      { ...network, EnableIPv6: true, IPv6Network: "fd00:1::/56", ...rules, Backend: { Type: "vxlan" } },
    ],
    [
      "IPv6 alone",
      { podCidr: "", podCidrv6: "fd00:1::/56" },
      { EnableIPv4: false, EnableIPv6: true, IPv6Network: "fd00:1::/56", ...rules, Backend: { Type: "vxlan" } },
    ],
    [
      "nftables",
      { flannel: { enableNFTables: true } },
      { ...network, EnableNFTables: true, Backend: { Type: "vxlan" } },
    ],
    ["host-gw", { flannel: { backend: "host-gw", vni: 7 } }, { ...network, ...rules, Backend: { Type: "host-gw" } }],
    [
      "options of vxlan",
      { flannel: { backendPort: 4789, vni: 9_999_999, GBP: true, directRouting: true, mtu: 9000, macPrefix: "0E-2A" } },
      {
        ...{ ...network, ...rules },
        Backend: { Type: "vxlan", Port: 4789, VNI: 9_999_999, GBP: true, DirectRouting: true, MTU: 9000 },
      },
    ],
    [
      "options of wireguard",
      {
        flannel: {
          ...{ backend: "wireguard", backendPort: 51820, backendPortv6: 51821, psk: 'a"b/c+d=', mtu: 1400 },
          ...{ tunnelMode: "separate", keepaliveInterval: 25 },
        },
      },
      {
        ...{ ...network, ...rules },
        Backend: {
          ...{ Type: "wireguard", ListenPort: 51820, ListenPortV6: 51821, PSK: 'a"b/c+d=', MTU: 1400 },
          ...{ Mode: "separate", PersistentKeepaliveInterval: 25 },
        },
      },
    ],
  ])("net-conf.json with %s", async (_, values, expected) => {
    expect(await netConf(values)).toEqual(expected);
  });

  test("each value has its place in the DaemonSet", async () => {
    const values = {
      image: { repository: "example.org/net", tag: "v9" },
      args: ["--kube-subnet-mgr", "--iface=eth1", "-v=2"],
      healthz: { port: 8081, livenessProbe: { failureThreshold: 9 } },
      resources: { requests: { cpu: "1" }, limits: null },
      tolerations: [{ key: "x", operator: "Exists" }],
      nodeSelector: { network: "tartan" },
      cniBinDir: "/usr/libexec/cni",
      cniConfDir: "/etc/other",
      maxUnavailable: 5,
    };
    const made = await text({ flannel: values, global: { imagePullSecrets: [{ name: "secret" }] } });
    const [agent] = ofKind(DaemonSet, objectsIn(made), "DaemonSet").spec.template.spec.containers;
    expect(agent).toMatchObject({
      image: "example.org/net:v9",
      args: [
        ...values.args,
        "--cni-conf-file=/etc/cni/net.d/10-flannel.conflist",
        "--healthz-ip=127.0.0.1",
        "--healthz-port=8081",
      ],
      livenessProbe: {
        httpGet: { host: "127.0.0.1", path: "/healthz", port: 8081 },
        periodSeconds: 30,
        failureThreshold: 9,
      },
      readinessProbe: { httpGet: { port: 8081 } },
      resources: { requests: { cpu: "1", memory: "80Mi" } },
    });
    const { template } = v.parse(
      v.looseObject({ spec: v.looseObject({ template: v.unknown() }) }),
      objectsIn(made).find(({ kind }) => kind === "DaemonSet"),
    ).spec;
    expect(template).toMatchObject({
      spec: {
        tolerations: values.tolerations,
        nodeSelector: values.nodeSelector,
        imagePullSecrets: [{ name: "secret" }],
        volumes: expect.arrayContaining([
          { name: "cni-plugin", hostPath: { path: "/usr/libexec/cni", type: "DirectoryOrCreate" } },
          { name: "cni", hostPath: { path: "/etc/other", type: "DirectoryOrCreate" } },
        ]),
      },
    });
  });

  test("what is turned off leaves nothing behind", async () => {
    const { template } = await daemonSet({
      ...{ healthz: { port: 0 }, resources: null, tolerations: [] },
      skipCNIConfigInstallation: true,
    });
    const [agent] = template.spec.containers;
    expect(agent?.args).toEqual(["--ip-masq", "--kube-subnet-mgr"]);
    for (const key of ["livenessProbe", "readinessProbe", "resources"]) expect(agent).not.toHaveProperty(key);
    expect(template.spec).not.toHaveProperty("tolerations");
    expect(JSON.stringify(template)).not.toContain("net.d");
  });

  test("with monitoring it has what kustomize's component has, which else nothing is seen of", async () => {
    const component = join(MANIFESTS, "kustomize", "components", "monitoring");
    const files = ["service.yaml", "service-monitor.yaml", "rules.yaml", "dashboard.yaml"];
    const wanted = (
      await Promise.all(files.map(async (name) => objectsIn(await Bun.file(join(component, name)).text())))
    ).flat();
    const made = await objects({ monitoring: { enabled: true } });
    for (const object of wanted) expect(made).toContainEqual(object);
    const before = await objects({});
    expect(made).toHaveLength(before.length + wanted.length);
    const [agent] = ofKind(DaemonSet, made, "DaemonSet").spec.template.spec.containers;
    const [plain] = ofKind(DaemonSet, before, "DaemonSet").spec.template.spec.containers;
    const flags = ["--debug-addr=127.0.0.1:8285", "--debug-addr=[$(NODE_IP)]:8285"];
    expect(agent?.args).toEqual([...(plain?.args ?? []), ...flags]);
    expect(plain).not.toHaveProperty("ports");
    const others = await text({ monitoring: { enabled: true, port: 9285, interval: "5s", labels: { release: "x" } } });
    expect(others.match(/9285/g)).toHaveLength(3);
    expect(others.match(/^ {4}release: x$/gm)).toHaveLength(2);
    expect(others).toContain('interval: "5s"');
  });

  test("goes into the release's namespace", async () => {
    const made = await text({}, "elsewhere");
    expect(made).not.toContain('namespace: "kube-flannel"');
    expect(made.match(/namespace: "elsewhere"/g)).toHaveLength(4);
  });

  test("network policies, which it does not enforce, are refused", async () => {
    await expect(text({ netpol: { enabled: true } })).rejects.toThrow("this chart enforces no network policies");
    expect(await text({ netpol: { enabled: false } })).toBe(await text({}));
  });

  describeWithKubectl("at the real API server", () => {
    const kubernetes = useKubernetes();

    test.each<[string, object]>([
      ["its own values", {}],
      [
        "others",
        { podCidrv6: "fd00:1::/56", flannel: { backend: "host-gw", healthz: { port: 0 }, nodeSelector: { a: "b" } } },
      ],
    ])("is valid with %s", async (_, values) => {
      const admin = await Kubectl.of(await kubernetes.start());
      const dry = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
      expect((await admin.run(dry, await text(values))).trim().split("\n")).toHaveLength(5);
    });
  });
});
