// Debian's packages of which files go into the image.

/** By name, with why. Of most only a library goes in, see contents.ts. */
export const PACKAGES = {
  "base-files": "the texts of common licences, and what Debian this is",
  "ca-certificates": "certificate authorities",
  "gcc-12-base": "libgcc's licence",
  iptables: "iptables and ip6tables for both back ends, with their extensions",
  libc6: "what everything else needs",
  "libgcc-s1": "glibc loads it when a thread is ended",
  libgmp10: "needed by libnftables",
  libip4tc2: "needed by legacy iptables",
  libip6tc2: "needed by legacy iptables",
  libjansson4: "needed by libnftables",
  libmnl0: "needed by libnftables",
  "libnetfilter-conntrack3": "needed by an extension of iptables",
  libnfnetlink0: "needed by libnetfilter-conntrack",
  libnftables1: "rules in nftables",
  libnftnl11: "needed by libnftables",
  "libnl-3-200": "links, routes and neighbours",
  "libnl-route-3-200": "links, routes and neighbours",
  libxtables12: "needed by iptables and libnftables",
} as const;

export type PackageName = keyof typeof PACKAGES;

/** What gcr.io/distroless/base-debian12 has by itself: manifests/Dockerfile takes it from there. */
export const OF_DISTROLESS: readonly PackageName[] = ["base-files", "ca-certificates", "libc6"];
