{{- /* Parts that several templates share. Each takes the root, or a dict with it as "root". */ -}}

{{- define "needletail.labels" -}}
app.kubernetes.io/name: needletail
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* Below which names of pods are known. With TLS whole, since certificates are for every pod of a service: *.SERVICE.NAMESPACE.svc. */ -}}
{{- define "needletail.domain" -}}
{{- if .Values.tls.enabled }}.{{ .Release.Namespace }}.svc{{ end -}}
{{- end }}

{{- define "needletail.secret" -}}
{{- get .root.Values.tls.secrets .component | default (printf "%s-%s-tls" .root.Release.Name .component) -}}
{{- end }}

{{- /* Flags of a coordinator or a worker. */ -}}
{{- define "needletail.encryption" -}}
{{- if .root.Values.tls.enabled -}}
- --tls-certificate
- /etc/needletail/tls/tls.crt
- --tls-key
- /etc/needletail/tls/tls.key
- --tls-authority
- /etc/needletail/tls/ca.crt
{{- else -}}
# Whoever the network policies let in can read and write all data.
- --insecure
{{- end }}
{{- end }}

{{- define "needletail.scheme" -}}
{{- if .Values.tls.enabled }}HTTPS{{ else }}HTTP{{ end -}}
{{- end }}

{{- define "needletail.mount" -}}
{{- if .root.Values.tls.enabled }}
- {name: tls, mountPath: /etc/needletail/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "needletail.volume" -}}
- name: tls
  secret: {secretName: {{ include "needletail.secret" . }}, defaultMode: 0440}
{{- end }}

{{- define "needletail.certificate" -}}
{{- if and .root.Values.tls.enabled .root.Values.tls.issuer.name }}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ include "needletail.secret" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "needletail.labels" . | nindent 4 }}
spec:
  secretName: {{ include "needletail.secret" . }}
  commonName: {{ .root.Release.Name }}-{{ .component }}
  duration: 2160h
  renewBefore: 720h
  privateKey: {algorithm: ECDSA, size: 256, encoding: PKCS8, rotationPolicy: Always}
  usages: [digital signature, server auth, client auth]
  {{- if ne .component "etcd" }}
  uris: ["needletail://{{ .component }}"]
  {{- end }}
  dnsNames:
    {{- range .services }}
    - {{ . | quote }}
    {{- end }}
    - localhost
  issuerRef:
    {{- toYaml .root.Values.tls.issuer | nindent 4 }}
{{- end }}
{{- end }}

{{- define "needletail.metadata" -}}
{{- $name := .Release.Name -}}
{{- $domain := include "needletail.domain" . -}}
{{- if .Values.etcd.enabled -}}
etcd://{{ range $number := until 3 }}{{ if $number }},{{ end }}{{ $name }}-etcd-{{ $number }}.{{ $name }}-etcd{{ $domain }}:2379{{ end }}/{{ .Values.etcd.prefix }}
{{- else -}}
etcd://{{ required "etcd.endpoints is needed when etcd.enabled is false" .Values.etcd.endpoints }}/{{ .Values.etcd.prefix }}
{{- end -}}
{{- end }}

{{- /* Those that are always there; they name the others. */ -}}
{{- define "needletail.coordinators" -}}
{{- $name := .Release.Name -}}
{{- $domain := include "needletail.domain" . -}}
{{- $count := .Values.coordinator.replicas -}}
{{- if .Values.coordinator.autoscaling.enabled }}{{ $count = .Values.coordinator.autoscaling.minReplicas }}{{ end -}}
{{- range $number := until (int $count) }}{{ if $number }},{{ end }}{{ $name }}-coordinator-{{ $number }}.{{ $name }}-coordinators{{ $domain }}:7460{{ end -}}
{{- end }}

{{- define "needletail.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.scheduling.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.scheduling.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  podAntiAffinity:
    {{- if eq .antiAffinity "required" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "needletail.labels" . | nindent 12 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "needletail.labels" . | nindent 14 }}
    {{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "needletail.labels" . | nindent 8 }}
{{- end }}

{{- define "needletail.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "needletail.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .root.Release.Name }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "needletail.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "needletail.labels" . | nindent 6 }}
{{- end }}

{{- define "needletail.claim" -}}
volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .className }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .size }}
{{- end }}
