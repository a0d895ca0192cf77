import { version } from "../../package.json";
import { MONITORING, OBJECTS } from "./objects.ts";
import { toTemplate } from "./template.ts";
import { valuesFile } from "./values.ts";
import { joined, toYaml } from "./yaml.ts";

const CHART = {
  apiVersion: "v2",
  name: "tartan",
  description: "The pod network of a Kubernetes cluster, compatible with flannel",
  type: "application",
  version,
  appVersion: `v${version}`,
  kubeVersion: ">=1.20.0-0",
};

/** By backend: the name that an option has in net-conf.json, and the value that it comes from. */
const BACKEND_OPTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  vxlan: { Port: "backendPort", VNI: "vni", GBP: "GBP", DirectRouting: "directRouting", MTU: "mtu" },
  wireguard: {
    ListenPort: "backendPort",
    ListenPortV6: "backendPortv6",
    PSK: "psk",
    MTU: "mtu",
    Mode: "tunnelMode",
    PersistentKeepaliveInterval: "keepaliveInterval",
  },
  udp: { Port: "backendPort" },
};

const optionsByBackend = Object.entries(BACKEND_OPTIONS).map(([backend, options]) => {
  const pairs = Object.entries(options).map(([name, value]) => `"${name}" $flannel.${value}`);
  return `  "${backend}" (dict ${pairs.join(" ")})`;
});

/** Writes net-conf.json as `JSON.stringify` does, so that the chart's is the plain manifest's to the byte. */
const HELPERS = `{{- define "tartan.backend" -}}
{{- $flannel := .Values.flannel }}
{{- $backend := dict "Type" $flannel.backend }}
{{- $options := dict
${optionsByBackend.join("\n")}
}}
{{- range $name, $value := index $options $flannel.backend }}
{{- if $value }}
{{- $_ := set $backend $name $value }}
{{- end }}
{{- end }}
{{- toPrettyJson $backend }}
{{- end }}

{{- define "tartan.netConf" -}}
{
{{- if .Values.podCidr }}
  "Network": {{ toJson .Values.podCidr }},
{{- else }}
  "EnableIPv4": false,
{{- end }}
{{- if .Values.podCidrv6 }}
  "EnableIPv6": true,
  "IPv6Network": {{ toJson .Values.podCidrv6 }},
{{- end }}
  "EnableNFTables": {{ if .Values.flannel.enableNFTables }}true{{ else }}false{{ end }},
  "Backend": {{ include "tartan.backend" . | nindent 2 | trim }}
}
{{- end }}

{{- define "tartan.check" -}}
{{- if dig "enabled" false (default dict .Values.netpol) }}
{{- fail "netpol.enabled: this chart enforces no network policies; install kube-network-policies by its own manifest" }}
{{- end }}
{{- end }}
`;

const HEADER = "{{- /* Made by `npm run manifests`. */ -}}\n";

/** The chart's files by their paths in it. */
export function chartFiles(): Record<string, string> {
  const files: Record<string, string> = {
    "Chart.yaml": toYaml(CHART),
    "values.yaml": valuesFile(),
    "templates/_helpers.tpl": HELPERS,
  };
  for (const [name, trees] of Object.entries(OBJECTS.templates)) {
    const check = name === "config.yaml" ? '{{- include "tartan.check" . -}}\n' : "";
    files[`templates/${name}`] = HEADER + check + joined(trees.map(toTemplate));
  }
  const watching = joined(Object.values(MONITORING).map(toTemplate));
  files["templates/monitoring.yaml"] = `${HEADER}{{- if .Values.monitoring.enabled }}\n${watching}{{- end }}\n`;
  return files;
}
