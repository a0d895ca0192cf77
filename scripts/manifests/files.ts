import { chartFiles } from "./chart.ts";
import { RULE_GROUPS } from "./monitoring/alerts.ts";
import { dashboardText, JSON_PATCH } from "./monitoring/objects.ts";
import { SCRAPE_CONFIG } from "./monitoring/scrape-config.ts";
import { jsonText, MONITORING, NAMESPACE, NET_CONF, OBJECTS } from "./objects.ts";
import { filled, type Tree } from "./tree.ts";
import { joined, toYaml } from "./yaml.ts";

const HEADER = "# Made by `npm run manifests` from scripts/manifests.\n";

/** What the overlays change in net-conf.json. */
const OVERLAYS: Readonly<Record<string, object>> = {
  // As many /64 for nodes as the IPv4 network has /24.
  "dual-stack": {
    Network: NET_CONF.Network,
    EnableIPv6: true,
    IPv6Network: "fd00:10:244::/56",
    EnableNFTables: NET_CONF.EnableNFTables,
    Backend: NET_CONF.Backend,
  },
  nftables: { ...NET_CONF, EnableNFTables: true },
};

/** Over the patch that opens a port. */
const PATCH_HEADER = `# The agent is in the node's own network and listens on loopback alone. For Prometheus it listens at the node's address,
# too (the one that the cluster knows). There nothing can be changed, but read: nodes, addresses, configuration. Have a
# firewall let in no more than Prometheus; a NetworkPolicy does not hold for pods in the node's network.
`;

const plain = (trees: readonly Tree[]): string => joined(trees.map((tree) => toYaml(filled(tree))));

const kustomization = (content: object): string =>
  HEADER + toYaml({ apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization", ...content });

/** A component goes with the base and with every overlay. */
function monitoringFiles(): Record<string, string> {
  const component = {
    apiVersion: "kustomize.config.k8s.io/v1alpha1",
    kind: "Component",
    resources: Object.keys(MONITORING),
    patches: [{ path: "daemonset-patch.yaml", target: { kind: "DaemonSet", name: "kube-flannel-ds" } }],
  };
  const files: Record<string, string> = {
    "components/monitoring/kustomization.yaml": HEADER + toYaml(component),
    "components/monitoring/daemonset-patch.yaml": `${HEADER}${PATCH_HEADER}${toYaml(JSON_PATCH)}`,
    "overlays/monitoring/kustomization.yaml": kustomization({
      resources: ["../../base"],
      components: ["../../components/monitoring"],
    }),
  };
  for (const [name, tree] of Object.entries(MONITORING))
    files[`components/monitoring/${name}`] = HEADER + plain([tree]);
  return files;
}

function kustomizeFiles(): Record<string, string> {
  const resources: Record<string, readonly Tree[]> = { "namespace.yaml": [OBJECTS.namespace], ...OBJECTS.templates };
  const files: Record<string, string> = {
    "base/kustomization.yaml": kustomization({ resources: Object.keys(resources) }),
  };
  for (const [name, trees] of Object.entries(resources)) files[`base/${name}`] = HEADER + plain(trees);
  for (const [name, netConf] of Object.entries(OVERLAYS)) {
    const patch = "net-conf.yaml";
    files[`overlays/${name}/kustomization.yaml`] = kustomization({
      resources: ["../../base"],
      patches: [{ path: patch }],
    });
    files[`overlays/${name}/${patch}`] = `${HEADER}${toYaml({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "kube-flannel-cfg", namespace: NAMESPACE },
      data: { "net-conf.json": jsonText(netConf) },
    })}`;
  }
  return { ...files, ...monitoringFiles() };
}

/** Of these folders of manifests/ every file is made here. */
export const GENERATED_FOLDERS = ["chart", "kustomize", "monitoring"];

/** All files that are made, by their paths in manifests/. */
export function manifestFiles(): Record<string, string> {
  const files: Record<string, string> = {
    "tartan.yml": HEADER + plain([OBJECTS.namespace, ...Object.values(OBJECTS.templates).flat()]),
    "monitoring/rules.yml": HEADER + toYaml(RULE_GROUPS),
    "monitoring/dashboard.json": dashboardText(),
    "monitoring/scrape-config.yml": SCRAPE_CONFIG,
  };
  for (const [path, content] of Object.entries(kustomizeFiles())) files[`kustomize/${path}`] = content;
  for (const [path, content] of Object.entries(chartFiles())) files[`chart/tartan/${path}`] = content;
  return files;
}
