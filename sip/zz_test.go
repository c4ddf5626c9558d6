package sip
import ("testing";"os";"time";"fmt";"bytes")
func best(f func()) float64 { b:=1e18; for range 2000 { t:=time.Now(); for range 32 {f()}; if d:=float64(time.Since(t))/32; d<b {b=d}}; return b}
var sk int
var skid HeaderID
func TestZZ(t *testing.T){
 for _,n:=range []string{"jssip-REGISTER","sipp-ACK","yealink-INVITE"} {
 raw,_:=os.ReadFile("../testdata/messages/"+n+".sip")
 var m Message
 m.Parse(raw)
 s:=m.src
 via,_:=m.Get(HVia); from,_:=m.Get(HFrom); to,_:=m.Get(HTo)
 var v Via; var a Address
 lines:=append([]line(nil),m.lines...)
 fmt.Println(n,len(lines),"parse",best(func(){m.Parse(raw)}),
 "scan",best(func(){b:=raw;for{end:=bytes.IndexByte(b,'\n');if end<=1{return};if bytes.IndexByte(b[:end],':')>0{sk++};b=b[end+1:]}}),
 "indexLine",best(func(){i:=int(m.startEnd);for{if s[i]=='\r'{return};_,e:=indexLine(s,i);i=e+2}}),
 "lookup",best(func(){for i:=range lines{l:=&lines[i]; e:=l.start; for s[e]!=':'{e++}; skid=LookupHeader(s[l.start:e])}}),
 "colononly",best(func(){for i:=range lines{l:=&lines[i]; e:=l.start; for s[e]!=':'{e++}; skid=HeaderID(len(s[l.start:e]))}}),
 "via",best(func(){v.parse(via)}),"from",best(func(){a.parse(from)}),"to",best(func(){a.parse(to)}),
 "reset",best(func(){m.reset(s)}), "cseq", best(func(){m.parseCSeq("1 REGISTER")}),
 "start",best(func(){m.reset(string("")+view(raw));p:=parser{m:&m};p.startLine()}),
 "firstEl",best(func(){firstElement(via)}),
 )
 }
}
