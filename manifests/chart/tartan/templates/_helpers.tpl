{{- define "tartan.backend" -}}
{{- $flannel := .Values.flannel }}
{{- $backend := dict "Type" $flannel.backend }}
{{- $options := dict
  "vxlan" (dict "Port" $flannel.backendPort "VNI" $flannel.vni "GBP" $flannel.GBP "DirectRouting" $flannel.directRouting "MTU" $flannel.mtu)
  "wireguard" (dict "ListenPort" $flannel.backendPort "ListenPortV6" $flannel.backendPortv6 "PSK" $flannel.psk "MTU" $flannel.mtu "Mode" $flannel.tunnelMode "PersistentKeepaliveInterval" $flannel.keepaliveInterval)
  "udp" (dict "Port" $flannel.backendPort)
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
