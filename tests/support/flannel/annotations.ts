export const PREFIX = "flannel.alpha.coreos.com/";
export const BACKEND_DATA = `${PREFIX}backend-data`;
export const MANAGED = `${PREFIX}kube-subnet-manager`;
export const PUBLIC_IP = `${PREFIX}public-ip`;

/** What flannel writes for a node. */
export const annotationsOf = (publicIP: string, mac: string): Record<string, string> => ({
  [BACKEND_DATA]: `{"VNI":1,"VtepMAC":"${mac}"}`,
  [`${PREFIX}backend-type`]: "vxlan",
  [MANAGED]: "true",
  [PUBLIC_IP]: publicIP,
});

/** The spec of a Node that kube-controller-manager has given the subnet. */
export const podCIDR = (subnet: string) => ({ podCIDR: subnet, podCIDRs: [subnet] });

/** All of a Node that has the subnet 10.244.`n`.0/24 and the address 192.0.2.`n`, for `n` from 10 to 99. */
export const publishedNode = (n: number) => ({
  spec: podCIDR(`10.244.${n}.0/24`),
  annotations: annotationsOf(`192.0.2.${n}`, `02:00:00:00:00:${n}`),
});
