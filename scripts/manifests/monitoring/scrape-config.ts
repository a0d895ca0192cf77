// How a Prometheus without the operator finds the agents.
import { valueAt } from "../values.ts";
import { toYaml } from "../yaml.ts";
import { JOB } from "./alerts.ts";

const AGENTS = {
  job_name: JOB,
  kubernetes_sd_configs: [{ role: "pod", namespaces: { names: ["kube-flannel"] } }],
  relabel_configs: [
    { source_labels: ["__meta_kubernetes_pod_label_app"], regex: "flannel", action: "keep" },
    // One target a pod: the init container is none.
    { source_labels: ["__meta_kubernetes_pod_container_name"], regex: "kube-flannel", action: "keep" },
    {
      source_labels: ["__meta_kubernetes_pod_ip"],
      regex: "(.+:.+)",
      replacement: `[$1]:${valueAt("monitoring.port")}`,
      target_label: "__address__",
    },
    {
      source_labels: ["__meta_kubernetes_pod_ip"],
      regex: "([^:]+)",
      replacement: `$1:${valueAt("monitoring.port")}`,
      target_label: "__address__",
    },
    { source_labels: ["__meta_kubernetes_pod_node_name"], target_label: "instance" },
  ],
};

export const SCRAPE_CONFIG = `# Made by \`npm run manifests\` from scripts/manifests. For prometheus.yml, where Prometheus has no operator. The agents have
# to listen where it can reach them: kustomize/components/monitoring has the patch. On hosts without Kubernetes, with
# --debug-addr=ADDRESS:${valueAt("monitoring.port")} (in /etc/default/tartan: FLANNELD_DEBUG_ADDR=ADDRESS:${valueAt("monitoring.port")}), give static_configs instead.
${toYaml({ rule_files: ["rules.yml"], scrape_configs: [AGENTS] })}`;
