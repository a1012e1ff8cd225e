# docker build -t huawei_iot_batch_exporter --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .

FROM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG REVISION=unknown
ARG BRANCH=unknown
ARG BUILD_USER=docker
ARG BUILD_DATE=unknown
RUN version=github.com/prometheus/common/version && \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w \
      -X $version.Version=$VERSION \
      -X $version.Revision=$REVISION \
      -X $version.Branch=$BRANCH \
      -X $version.BuildUser=$BUILD_USER \
      -X $version.BuildDate=$BUILD_DATE" \
      -o /huawei_iot_batch_exporter . && \
    echo 'nonroot:x:65532:65532::/:/sbin/nologin' > /passwd && \
    echo 'nonroot:x:65532:' > /group

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /passwd /group /etc/
COPY --from=build /huawei_iot_batch_exporter /bin/
COPY LICENSE /
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 10105
ENTRYPOINT ["/bin/huawei_iot_batch_exporter"]
CMD ["--config.file=/etc/huawei_iot_batch_exporter/huawei_iot_batch.yml"]
