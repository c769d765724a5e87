{{- /* Parts that several templates share. Each takes the root, or a dict with it as "root". */ -}}

{{- define "needletail.labels" -}}
app.kubernetes.io/name: needletail
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "needletail.metadata" -}}
{{- $name := .Release.Name -}}
{{- if .Values.etcd.enabled -}}
etcd://{{ range $number := until 3 }}{{ if $number }},{{ end }}{{ $name }}-etcd-{{ $number }}.{{ $name }}-etcd:2379{{ end }}/{{ .Values.etcd.prefix }}
{{- else -}}
etcd://{{ required "etcd.endpoints is needed when etcd.enabled is false" .Values.etcd.endpoints }}/{{ .Values.etcd.prefix }}
{{- end -}}
{{- end }}

{{- /* Those that are always there; they name the others. */ -}}
{{- define "needletail.coordinators" -}}
{{- $name := .Release.Name -}}
{{- $count := .Values.coordinator.replicas -}}
{{- if .Values.coordinator.autoscaling.enabled }}{{ $count = .Values.coordinator.autoscaling.minReplicas }}{{ end -}}
{{- range $number := until (int $count) }}{{ if $number }},{{ end }}{{ $name }}-coordinator-{{ $number }}.{{ $name }}-coordinators:7460{{ end -}}
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
